package writer

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Group commit. A commit costs more than the statement it commits, so callers
// that find the writer busy do not take turns one by one. They queue their work,
// and the next caller to get the turn runs all of it in one transaction, each
// piece in its own savepoint. A caller that finds the writer free runs its own
// work at once, without a handover.

// maxGroup limits how many pieces of work share a commit, and so how long the
// first of them waits.
const maxGroup = 256

// work is a piece of work that waits for the writer. It may run more than once:
// if one piece of a group makes the transaction fail, the others run again.
type work struct {
	ctx    context.Context
	single bool // fn runs one statement, which needs no transaction around it
	fn     func(*capture.Conn) error

	state    atomic.Int32 // queued, taken or cancelled
	err      error
	panicked any           // the value fn panicked with, for its own caller
	done     chan struct{} // capacity 1
}

var errPanicked = errors.New("a write panicked")

// run runs fn and turns a panic in it, such as one in a caller's type, into an
// error, so that it does not crash the goroutine that runs the work.
func (p *work) run(c *capture.Conn) (err error) {
	p.panicked = nil
	defer func() {
		if v := recover(); v != nil {
			p.panicked, err = v, errPanicked
		}
	}()
	return p.fn(c)
}

// result returns the error for the caller, or panics if fn did.
func (p *work) result() error {
	if p.panicked != nil {
		panic(p.panicked)
	}
	return p.err
}

const (
	queued = iota
	taken
	cancelled
)

type queue struct {
	mu   sync.Mutex
	list []*work
}

func (q *queue) push(p *work) {
	q.mu.Lock()
	q.list = append(q.list, p)
	q.mu.Unlock()
}

// take moves up to maxGroup pieces whose callers still wait into dst.
func (q *queue) take(dst []*work) []*work {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for ; n < len(q.list) && len(dst) < maxGroup; n++ {
		if p := q.list[n]; p.state.CompareAndSwap(queued, taken) {
			dst = append(dst, p)
		}
	}
	rest := copy(q.list, q.list[n:])
	clear(q.list[rest:])
	q.list = q.list[:rest]
	return dst
}

// Do runs fn with the connection, in its own commit or a shared one. single means that fn
// runs one statement. fn may run more than once, so it must only affect the database and
// its caller's results.
func (w *Writer) Do(ctx context.Context, single bool, fn func(*capture.Conn) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := w.MayWrite(ctx); err != nil {
		return err
	}
	err := w.submit(ctx, single, fn)
	if err != nil && w.Hub.Contested() { // discovered since MayWrite
		if err := w.MayWrite(ctx); err != nil {
			return err
		}
		err = w.submit(ctx, single, fn)
	}
	return err
}

func (w *Writer) submit(ctx context.Context, single bool, fn func(*capture.Conn) error) error {
	if w.try() {
		defer w.leave()
		return w.alone(ctx, single, fn)
	}
	if err := w.Own(); err != nil {
		return err
	}
	p := &work{ctx: ctx, single: single, fn: fn, done: make(chan struct{}, 1)}
	w.queue.push(p)
	for {
		select {
		case <-p.done:
			return p.result()
		case w.turn <- struct{}{}:
			// Callers woken by the last commit are about to queue again.
			runtime.Gosched()
			w.runQueued()
			w.leave()
		case <-ctx.Done():
			if p.state.CompareAndSwap(queued, cancelled) {
				return waiting(ctx)
			}
			<-p.done // it is running and will be interrupted
			return p.result()
		case <-w.Gate.shut:
			if p.state.CompareAndSwap(queued, cancelled) {
				return ErrClosed
			}
			<-p.done
			return p.result()
		}
	}
}

// runQueued runs the queued work. The caller has the turn.
func (w *Writer) runQueued() {
	w.group = w.queue.take(w.group[:0])
	switch n := len(w.group); {
	case n == 0:
		return
	case n == 1 || !w.together(w.group):
		for _, p := range w.group {
			p.err = w.alone(p.ctx, p.single, p.run)
		}
	}
	for _, p := range w.group {
		p.done <- struct{}{}
	}
	clear(w.group)
}

// together runs a group in one transaction. It returns false if the transaction
// as a whole fails, for example because of a deferred constraint or a caller that
// gives up midway. Nothing was committed then, and each piece must run alone to
// find out which one failed.
func (w *Writer) together(group []*work) bool {
	if w.Gate.IsShut() {
		for _, p := range group {
			p.err = ErrClosed
		}
		return true
	}
	c := w.conn
	c.Before()
	defer c.After()
	if err := c.Do("BEGIN IMMEDIATE"); err != nil {
		return false
	}
	for _, p := range group {
		if !w.inSavepoint(p) {
			c.Rollback()
			return false
		}
	}
	c.Before()
	if err := c.Do("COMMIT"); err != nil {
		c.Rollback()
		return false
	}
	return true
}

// inSavepoint runs a piece of a group. It returns false if the group's
// transaction is lost.
func (w *Writer) inSavepoint(p *work) bool {
	c := w.conn
	if p.ctx.Err() != nil {
		p.err = context.Cause(p.ctx)
		return true
	}
	c.Before()
	if c.Do("SAVEPOINT driftdb_group") != nil {
		return false
	}
	stop := func() {}
	if !p.single { // a single statement watches its own context
		stop = c.Watch(p.ctx)
	}
	p.err = w.Gate.Explain(p.ctx, p.run(c))
	stop()
	if c.Autocommit() {
		return false // SQLite has rolled back everything
	}
	c.Before()
	if p.err != nil && c.Do("ROLLBACK TO driftdb_group") != nil {
		return false
	}
	return c.Do("RELEASE driftdb_group") == nil
}

// alone runs a piece in its own commit.
func (w *Writer) alone(ctx context.Context, single bool, fn func(*capture.Conn) error) error {
	if w.Gate.IsShut() {
		return ErrClosed
	}
	c := w.conn
	c.Before()
	defer c.After()
	if single && !c.Restless() {
		if err := fn(c); !c.Overtaken(err) {
			return w.refused(w.Gate.Explain(ctx, err))
		}
	}
	stop := c.Watch(ctx)
	defer stop()
	if err := c.Do("BEGIN IMMEDIATE"); err != nil {
		return w.Gate.Explain(ctx, err)
	}
	defer func() { // after a panic; otherwise no transaction is open here
		stop()
		_ = c.Rollback()
	}()
	err := fn(c)
	if err == nil && c.Autocommit() {
		err = sqlite.ErrTxLost
	}
	if err == nil {
		c.Before()
		err = c.Do("COMMIT")
	}
	if err != nil {
		stop()
		err = errors.Join(w.Gate.Explain(ctx, err), c.Rollback())
	}
	return w.refused(err)
}
