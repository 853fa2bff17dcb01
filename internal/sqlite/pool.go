package sqlite

import (
	"context"
	"errors"
	"time"
)

// Pool lends connections, and keeps those that are not in use. It opens as many
// as are asked for, so that a caller who holds one can always have another, and
// keeps only a few.
type Pool struct {
	open func() (*Conn, error)
	keep int

	lent Loans
	idle []*Conn // under lent.mu
}

// NewPool returns a pool that opens connections with open and keeps up to keep
// idle ones.
func NewPool(keep int, open func() (*Conn, error)) *Pool {
	return &Pool{open: open, keep: keep}
}

// Get lends a connection until Put.
func (p *Pool) Get(ctx context.Context) (*Loan, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l, err := p.getIdle(); l != nil || err != nil {
		return l, err
	}
	l := new(Loan)
	return l, p.lent.Lend(func() (_ *Loan, err error) {
		l.Conn, err = p.open()
		return l, err
	})
}

// getIdle lends a connection that is there, if there is one.
func (p *Pool) getIdle() (*Loan, error) {
	p.lent.mu.Lock()
	defer p.lent.mu.Unlock()
	if err := p.lent.Shutting(); err != nil {
		return nil, err
	}
	n := len(p.idle)
	if n == 0 {
		return nil, nil
	}
	l := &Loan{Conn: p.idle[n-1]}
	p.idle = p.idle[:n-1]
	p.lent.add(l)
	return l, nil
}

// Put ends a loan. Whoever still uses it is told why. A connection that is still
// inside a transaction is closed.
func (p *Pool) Put(l *Loan, why error) {
	l.Return(why, func() {
		if !p.putIdle(l.Conn) {
			p.lent.failed(l.Conn.Close())
		}
	})
}

func (p *Pool) putIdle(c *Conn) bool {
	p.lent.mu.Lock()
	defer p.lent.mu.Unlock()
	if p.lent.Shutting() != nil || len(p.idle) >= p.keep || !c.Autocommit() {
		return false
	}
	p.idle = append(p.idle, c)
	return true
}

// OldestRead is the age of the oldest read on a connection that is lent; see
// [Loans.OldestRead].
func (p *Pool) OldestRead() time.Duration { return p.lent.OldestRead() }

// Shut ends the lending; see [Loans.Shut].
func (p *Pool) Shut(why error) { p.lent.Shut(why) }

// Close closes all connections, after Shut; see [Loans.Recall].
func (p *Pool) Close(deadline time.Time) error {
	errs := []error{p.lent.Recall(deadline)}
	p.lent.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.lent.mu.Unlock()
	for _, c := range idle {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
