package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	headerTimeout = 5 * time.Second  // a browser sends its headers at once
	idleTimeout   = 2 * time.Minute  // of a kept connection
	closeTimeout  = 2 * time.Second  // for pages that are being made when it ends
	sendTimeout   = 60 * time.Second // to read a page, after it was made
	maxHeader     = 64 << 10         // bytes
	maxConns      = 256
)

// Serve answers requests on l until ctx ends, and closes l and h. It refuses a listener that
// other machines can reach unless Options.Token is set.
func (h *Handler) Serve(ctx context.Context, l net.Listener) error {
	if h.o.Token == "" && !loopback(l.Addr()) {
		return errors.Join(fmt.Errorf("inspect: other machines can reach %s: set a token, or listen on 127.0.0.1", l.Addr()), l.Close(), h.Close())
	}
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, IdleTimeout: idleTimeout, WriteTimeout: h.o.Timeout + sendTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       log.New(io.Discard, "", 0), // of what clients send: anybody could fill the log
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(limit(l, maxConns)) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if server.Shutdown(ending) != nil {
			server.Close() // what is left has had its time
		}
		err = <-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, h.Close())
}

// loopback reports whether only this machine reaches addr.
func loopback(addr net.Addr) bool {
	at, err := netip.ParseAddrPort(addr.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// limited is a listener with a bound on the connections that are open.
type limited struct {
	net.Listener
	free chan struct{}
}

func limit(l net.Listener, n int) net.Listener { return &limited{l, make(chan struct{}, n)} }

// Accept closes a connection beyond the bound at once: waiting would leave the visitor who
// is in the right waiting too.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.free <- struct{}{}:
			return &counted{Conn: c, leave: func() { <-l.free }}, nil
		default:
			c.Close()
		}
	}
}

type counted struct {
	net.Conn
	leave func()
	once  sync.Once
}

func (c *counted) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}
