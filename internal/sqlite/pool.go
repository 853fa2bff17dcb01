package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// idleFor is how long a connection that nobody uses stays open.
const idleFor = time.Minute

// Pool lends connections, and keeps those that are not in use for a while. Without a
// limit it opens as many as are asked for, so that a caller who holds one can always
// have another.
type Pool struct {
	open func() (*Conn, error)
	keep int
	busy chan struct{} // has one for each that is lent; nil: there is no limit
	shut chan struct{} // closed by Shut, for who waits

	lent  Loans
	idle  []idleConn     // the longest idle first; under lent.mu
	sweep *time.Timer    // runs while there are idle ones, and calls closeIdle; under lent.mu
	swept sync.WaitGroup // has one for the timer that runs, and one for each call
}

type idleConn struct {
	*Conn
	since time.Time
}

// NewPool returns a pool that opens connections with open, lends up to limit of them
// at the same time, and keeps up to keep idle ones. A limit of 0 is none.
func NewPool(limit, keep int, open func() (*Conn, error)) *Pool {
	p := &Pool{open: open, keep: keep, shut: make(chan struct{})}
	if limit > 0 {
		p.busy = make(chan struct{}, limit)
		p.keep = min(keep, limit)
	}
	return p
}

// Get lends a connection until Put. When as many are lent as may be, it waits.
func (p *Pool) Get(ctx context.Context) (*Loan, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	l, err := p.lend()
	if err != nil {
		p.end()
		return nil, err
	}
	return l, nil
}

// begin waits until one more may be lent.
func (p *Pool) begin(ctx context.Context) error {
	if p.busy == nil {
		return nil
	}
	select {
	case p.busy <- struct{}{}:
		return nil
	case <-p.shut:
		return p.lent.Shutting()
	case <-ctx.Done():
		return fmt.Errorf("all %d connections that read are in use: %w", cap(p.busy), context.Cause(ctx))
	}
}

func (p *Pool) end() {
	if p.busy != nil {
		<-p.busy
	}
}

func (p *Pool) lend() (*Loan, error) {
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
	l := &Loan{Conn: p.idle[n-1].Conn}
	p.idle = p.idle[:n-1]
	p.lent.add(l)
	return l, nil
}

// Put ends a loan. Whoever still uses it is told why. A connection that is still
// inside a transaction is closed. It is called once for each Get.
func (p *Pool) Put(l *Loan, why error) {
	l.Return(why, func() {
		if !p.putIdle(l.Conn) {
			p.lent.failed(l.Conn.Close())
		}
	})
	p.end()
}

func (p *Pool) putIdle(c *Conn) bool {
	p.lent.mu.Lock()
	defer p.lent.mu.Unlock()
	if p.lent.Shutting() != nil || len(p.idle) >= p.keep || !c.Autocommit() {
		return false
	}
	p.idle = append(p.idle, idleConn{c, time.Now()})
	if p.sweep == nil {
		p.swept.Add(1)
		p.sweep = time.AfterFunc(idleFor, p.closeIdle)
	}
	return true
}

// closeIdle closes what has been idle for too long, and sees to the rest later.
func (p *Pool) closeIdle() {
	defer p.swept.Done()
	var old []idleConn
	p.lent.mu.Lock()
	for len(p.idle) > 0 && time.Since(p.idle[0].since) >= idleFor {
		old, p.idle = append(old, p.idle[0]), p.idle[1:]
	}
	if p.sweep = nil; len(p.idle) > 0 {
		p.swept.Add(1)
		p.sweep = time.AfterFunc(idleFor-time.Since(p.idle[0].since), p.closeIdle)
	}
	p.lent.mu.Unlock()
	for _, c := range old {
		p.lent.failed(c.Close())
	}
}

// OldestRead is the age of the oldest read on a connection that is lent; see
// [Loans.OldestRead].
func (p *Pool) OldestRead() time.Duration { return p.lent.OldestRead() }

// Shut ends the lending; see [Loans.Shut].
func (p *Pool) Shut(why error) {
	if p.lent.Shut(why) {
		close(p.shut)
	}
}

// Close closes all connections, after Shut; see [Loans.Recall].
func (p *Pool) Close(deadline time.Time) error {
	errs := []error{p.lent.Recall(deadline)}
	p.lent.mu.Lock()
	idle := p.idle
	p.idle = nil
	if p.sweep != nil && p.sweep.Stop() { // else it is being called, or was stopped before
		p.swept.Done()
	}
	p.lent.mu.Unlock()
	p.swept.Wait()
	for _, c := range idle {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
