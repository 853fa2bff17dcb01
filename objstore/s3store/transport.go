package s3store

import (
	"context"
	"net"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

const (
	// dialTimeout bounds connecting, and idleTimeout the time without a byte in either
	// direction. A whole request has no limit: a large body on a slow line may take as
	// long as it needs.
	dialTimeout = 10 * time.Second
	idleTimeout = time.Minute
	// maxIdleConns is how many idle connections are kept for later requests.
	maxIdleConns = 16
	// writeChunk is the most that one write passes on, so that a long write on a slow line
	// shows progress.
	writeChunk = 64 << 10
)

// newHTTPClient returns a client to which the SDK can still add AWS_CA_BUNDLE, which it
// cannot do with an *http.Client.
func newHTTPClient(idle time.Duration) *awshttp.BuildableClient {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return awshttp.NewBuildableClient().
		WithReadTimeout(0). // the SDK's default would end longer uploads
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = maxIdleConns
			t.IdleConnTimeout = idle / 2 // ends before the idle connection's deadline
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

// idleConn is a connection that fails when nothing has been read or written for a while.
// Both directions share the deadline, because the read of the response already waits while
// the request is being sent.
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
