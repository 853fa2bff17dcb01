package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// idleFor is how long an unused connection stays open.
const idleFor = time.Minute

// Pool lends connections and keeps unused ones open for a while. Without a limit it opens as
// many as are asked for, so that a caller that holds one can always get another.
type Pool struct {
	open func() (*Conn, error)
	keep int
	busy chan struct{} // holds one element per lent connection; nil: no limit
	shut chan struct{} // closed by Shut, for callers that wait in Get

	lent  Loans
	idle  []idleConn     // longest idle first; under lent.mu
	sweep *time.Timer    // runs while connections are idle, and calls closeIdle; under lent.mu
	lapse *time.Timer    // runs while idle connections keep snapshots, or may again, and calls nextTerm; under lent.mu
	timed sync.WaitGroup // counts the running timers and their running calls

	term    term
	keeper  *Keeper // of the connection that writes; nil: none
	expired func()  // see Keep
	ended   func()  // see AfterReads
}

type idleConn struct {
	*Conn
	since int64 // the moment
}

// NewPool returns a pool that opens connections with open, lends up to limit of them at the
// same time, and keeps up to keep idle ones. A limit of 0 means no limit.
func NewPool(limit, keep int, open func() (*Conn, error)) *Pool {
	p := &Pool{open: open, keep: keep, shut: make(chan struct{})}
	if limit > 0 {
		p.busy = make(chan struct{}, limit)
		p.keep = min(keep, limit)
	}
	return p
}

// Get lends a connection until Put. It waits while the limit is reached.
func (p *Pool) Get(ctx context.Context) (*Loan, error) { return p.get(ctx, false) }

// errReadDone is never returned: nothing uses the connection of a Read that has ended.
var errReadDone = errors.New("the read has ended")

// Read calls fn with a connection on which query sees the newest commit. fn runs query and
// nothing else.
func (p *Pool) Read(ctx context.Context, query string, fn func(*Conn) error) error {
	l, err := p.get(ctx, true)
	if err != nil {
		return err
	}
	defer p.Put(l, errReadDone)
	if err := l.Enter(); err != nil {
		return err
	}
	defer l.Leave()
	if err = l.Conn.freshen(query, &p.term); err == nil {
		err = fn(l.Conn)
	}
	if err != nil {
		_ = l.Conn.giveUp() // if that fails, Put closes the connection
	}
	return err
}

// get lends a connection. With kept, it may keep a snapshot.
func (p *Pool) get(ctx context.Context, kept bool) (*Loan, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	l, err := p.lend(kept)
	if err != nil {
		p.end()
		return nil, err
	}
	return l, nil
}

// begin waits until one more connection may be lent.
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

func (p *Pool) lend(kept bool) (*Loan, error) {
	if l, err := p.getIdle(kept); l != nil || err != nil {
		return l, err
	}
	l := new(Loan)
	return l, p.lent.Lend(func() (_ *Loan, err error) {
		l.Conn, err = p.open()
		return l, err
	})
}

// getIdle lends an idle connection, if there is one.
func (p *Pool) getIdle(kept bool) (*Loan, error) {
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
	if !kept {
		if err := l.Conn.giveUp(); err != nil {
			return nil, errors.Join(err, l.Conn.Close())
		}
	}
	p.lent.add(l)
	return l, nil
}

// Put ends a loan; later uses of it fail with why. A connection that is still inside a
// transaction is closed. Put must be called once for each Get.
func (p *Pool) Put(l *Loan, why error) {
	l.Return(why, func() {
		if !p.putIdle(l.Conn) {
			p.lent.failed(l.Conn.Close())
		}
	})
	p.end()
	if p.ended != nil {
		p.ended()
	}
}

// AfterReads makes Put call fn, on its caller's goroutine. It is called once, before the pool is
// used.
func (p *Pool) AfterReads(fn func()) { p.ended = fn }

func (p *Pool) putIdle(c *Conn) bool {
	p.lent.mu.Lock()
	defer p.lent.mu.Unlock()
	if p.lent.Shutting() != nil || len(p.idle) >= p.keep {
		return false
	}
	if !c.keepsFor(&p.term) && c.giveUp() != nil || !c.keeps && !c.Autocommit() {
		return false
	}
	p.idle = append(p.idle, idleConn{c, Moment()})
	if p.sweep == nil {
		p.sweep = p.after(idleFor, p.closeIdle)
	}
	if c.keeps || p.term.found.Load() {
		p.lapseSoon()
	}
	return true
}

// lapses sees to it that the term ends. It returns false if the pool is shut.
func (p *Pool) lapses() bool {
	p.lent.mu.Lock()
	defer p.lent.mu.Unlock()
	if p.lent.Shutting() != nil {
		return false
	}
	p.lapseSoon()
	return true
}

// lapseSoon starts the timer that ends the term. The caller holds lent.mu.
func (p *Pool) lapseSoon() {
	if p.lapse == nil {
		p.lapse = p.after(termLength, p.nextTerm)
	}
}

// after schedules fn. The caller holds lent.mu, and fn sets its timer to nil.
func (p *Pool) after(delay time.Duration, fn func()) *time.Timer {
	p.timed.Add(1)
	return time.AfterFunc(delay, fn)
}

// nextTerm ends the term, and with it the snapshots of idle connections. A connection in use
// gives up its snapshot when it is put back or read with again.
func (p *Pool) nextTerm() {
	defer p.timed.Done()
	p.lent.mu.Lock()
	p.lapse = nil
	p.lent.mu.Unlock()
	p.endTerm(2)
}

// keepNone ends the term and begins one in which no snapshot is kept.
func (p *Pool) keepNone() {
	p.endTerm(1)
}

// keepAgain ends the term that keepNone began.
func (p *Pool) keepAgain() { p.term.number.Add(1) }

// endTerm advances to a later term.
func (p *Pool) endTerm(later uint64) {
	if p.expired != nil {
		defer p.expired() // without lent.mu
	}
	p.lent.mu.Lock()
	defer p.lent.mu.Unlock()
	p.term.number.Add(later)
	p.idle = slices.DeleteFunc(p.idle, func(c idleConn) bool {
		err := c.giveUp()
		if err != nil {
			p.lent.errs = append(p.lent.errs, err, c.Close())
		}
		return err != nil
	})
}

// closeIdle closes connections that have been idle for too long, and schedules a call for the
// rest.
func (p *Pool) closeIdle() {
	defer p.timed.Done()
	var old []idleConn
	p.lent.mu.Lock()
	unused := func() time.Duration { return time.Duration(Moment() - p.idle[0].since) }
	for len(p.idle) > 0 && unused() >= idleFor {
		old, p.idle = append(old, p.idle[0]), p.idle[1:]
	}
	if p.sweep = nil; len(p.idle) > 0 {
		p.sweep = p.after(idleFor-unused(), p.closeIdle)
	}
	p.lent.mu.Unlock()
	for _, c := range old {
		p.lent.failed(c.Close())
	}
}

// OldestRead is the age of the oldest read on a lent connection; see [Loans.OldestRead].
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
	for _, timer := range []*time.Timer{p.sweep, p.lapse} {
		if timer != nil && timer.Stop() { // otherwise it is being called, or was stopped before
			p.timed.Done()
		}
	}
	p.lent.mu.Unlock()
	p.timed.Wait()
	for _, c := range idle {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
