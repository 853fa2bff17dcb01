package heartbeat

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
)

// deaf accepts connections, and never says anything. It passes each of them on once the first
// bytes have come.
func deaf(t *testing.T) (address string, conns chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	conns = make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				conns <- conn
			}
		}
	}()
	return l.Addr().String(), conns
}

// TestHungConnection: of a connection that hangs before the request (in the handshake of TLS, or at
// a proxy) nothing is left once Close has returned.
func TestHungConnection(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"handshake", "proxy"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			at, conns := deaf(t)
			address := "https://" + at + "/" + token
			if way == "proxy" {
				address = "https://example.com/" + token
			}
			to, err := Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			s := to.Start(event.To(slog.DiscardHandler))
			if way == "proxy" {
				s.client.Transport.(*http.Transport).Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: at})
			}
			s.Beat()
			conn := <-conns
			defer conn.Close()
			s.Close()
			if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is still open")
			}
		})
	}
}
