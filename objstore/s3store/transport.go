package s3store

import (
	"context"
	"net"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

const (
	// dialTimeout bounds connecting, idleTimeout the time in which not a byte
	// comes or goes. There is no limit for a whole request: a large body on a
	// slow line may take as long as it needs.
	dialTimeout = 10 * time.Second
	idleTimeout = time.Minute
	// maxIdleConns is how many connections stay open for the next requests.
	maxIdleConns = 16
	// writeChunk is written at once, so that a long write on a slow line shows
	// its progress.
	writeChunk = 64 << 10
)

// newHTTPClient returns a client that the SDK can still add AWS_CA_BUNDLE to,
// which it cannot to an *http.Client.
func newHTTPClient(idle time.Duration) *awshttp.BuildableClient {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return awshttp.NewBuildableClient().
		WithReadTimeout(0). // the SDK's own would end uploads that take longer
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = maxIdleConns
			t.IdleConnTimeout = idle / 2 // before the deadline of the idle connection
			t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dialer.DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				c := &idleConn{Conn: conn, idle: idle}
				return c, c.extend()
			}
		})
}

// idleConn is a connection that fails when nothing has been read or written
// for a while. Both directions share the deadline, because the answer is waited
// for from the moment on when the request begins to be sent.
type idleConn struct {
	net.Conn
	idle time.Duration
}

func (c *idleConn) extend() error { return c.SetDeadline(time.Now().Add(c.idle)) }

func (c *idleConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil {
		err = c.extend()
	}
	return n, err
}

func (c *idleConn) Write(p []byte) (int, error) {
	written := 0
	for {
		chunk := p[written:min(len(p), written+writeChunk)]
		if err := c.extend(); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(chunk)
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}
