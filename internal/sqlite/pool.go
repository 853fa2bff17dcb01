package sqlite

import (
	"context"
	"errors"
	"sync"
)

// Pool keeps connections that are not in use. It opens as many as are asked
// for, so that a caller who holds one can always have another, and keeps only
// a few.
type Pool struct {
	open func() (*Conn, error)
	keep int

	mu     sync.Mutex
	idle   []*Conn
	closed bool
}

// ErrPoolClosed says that the pool gives out no more connections.
var ErrPoolClosed = errors.New("sqlite: the pool is closed")

// NewPool returns a pool that opens connections with open and keeps up to keep
// idle ones.
func NewPool(keep int, open func() (*Conn, error)) *Pool {
	return &Pool{open: open, keep: keep}
}

// Get returns a connection that is the caller's until Put.
func (p *Pool) Get(ctx context.Context) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrPoolClosed
	}
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	return p.open()
}

// Put gives c back. A connection that is still inside a transaction is closed.
func (p *Pool) Put(c *Conn) {
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < p.keep && c.Autocommit()
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		c.Close()
	}
}

// Close closes the idle connections; those in use are closed when they come
// back.
func (p *Pool) Close() error {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	var errs []error
	for _, c := range idle {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
