package driftdb

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Group commit. A commit costs more than the statement that it commits, so
// callers who find the writer taken do not wait for their turn one by one: they
// queue their work, and whoever gets the writer next runs all of it in one
// transaction, each piece in a savepoint of its own. A caller who finds the
// writer free runs its own work itself, at once, without a hand-over.

// maxGroup bounds how many pieces of work share a commit, and with it how long
// the first of them waits.
const maxGroup = 256

// work is a piece of work that waits for the writer. It may be run more than
// once: when somebody else's work spoils a group's transaction, the rest is run
// again.
type work struct {
	ctx    context.Context
	single bool // one statement: no transaction is needed around it
	fn     func() error

	state    atomic.Int32 // queued, taken or cancelled
	err      error
	panicked any           // what fn panicked with, for its own caller
	done     chan struct{} // capacity 1
}

var errPanicked = errors.New("driftdb: the work panicked")

// run runs fn and makes a panic in it, such as one in a type of its caller's,
// an error: it must not take along whoever runs the work for the caller.
func (w *work) run() (err error) {
	w.panicked = nil
	defer func() {
		if p := recover(); p != nil {
			w.panicked, err = p, errPanicked
		}
	}()
	return w.fn()
}

// result is what the caller gets, be it a panic.
func (w *work) result() error {
	if w.panicked != nil {
		panic(w.panicked)
	}
	return w.err
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

func (q *queue) push(w *work) {
	q.mu.Lock()
	q.list = append(q.list, w)
	q.mu.Unlock()
}

// take removes up to maxGroup pieces whose callers still wait, into dst.
func (q *queue) take(dst []*work) []*work {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for ; n < len(q.list) && len(dst) < maxGroup; n++ {
		if w := q.list[n]; w.state.CompareAndSwap(queued, taken) {
			dst = append(dst, w)
		}
	}
	rest := copy(q.list, q.list[n:])
	clear(q.list[rest:])
	q.list = q.list[:rest]
	return dst
}

// submit runs fn on the writer, in a commit of its own or one that is shared.
// fn must not have effects outside of the database but on its caller's
// results, since it may be run again.
func (db *DB) submit(ctx context.Context, single bool, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("driftdb: %w", context.Cause(ctx))
	}
	if err := db.mayWrite(ctx); err != nil {
		return err
	}
	err := db.submitted(ctx, single, fn)
	if err != nil && db.hub.Contested() { // found out since
		if err := db.mayWrite(ctx); err != nil {
			return err
		}
		err = db.submitted(ctx, single, fn)
	}
	return err
}

func (db *DB) submitted(ctx context.Context, single bool, fn func() error) error {
	select {
	case db.token <- struct{}{}:
		defer db.unlock()
		if db.isClosed() {
			return ErrClosed
		}
		return db.alone(ctx, single, fn)
	default:
	}
	if err := db.ownTx(); err != nil {
		return err
	}
	w := &work{ctx: ctx, single: single, fn: fn, done: make(chan struct{}, 1)}
	db.queue.push(w)
	for {
		select {
		case <-w.done:
			return w.result()
		case db.token <- struct{}{}:
			// Those whom the last commit has woken are about to queue again.
			runtime.Gosched()
			db.runQueued()
			db.unlock()
		case <-ctx.Done():
			if w.state.CompareAndSwap(queued, cancelled) {
				return fmt.Errorf("driftdb: waiting for the writer: %w", context.Cause(ctx))
			}
			<-w.done // it is being run, and is interrupted
			return w.result()
		case <-db.closed:
			if w.state.CompareAndSwap(queued, cancelled) {
				return ErrClosed
			}
			<-w.done
			return w.result()
		}
	}
}

// runQueued runs what has queued up. The caller holds the writer.
func (db *DB) runQueued() {
	db.group = db.queue.take(db.group[:0])
	switch n := len(db.group); {
	case n == 0:
		return
	case n == 1 || !db.together(db.group):
		for _, w := range db.group {
			w.err = db.alone(w.ctx, w.single, w.run)
		}
	}
	for _, w := range db.group {
		w.done <- struct{}{}
	}
	clear(db.group)
}

// together runs a group in one transaction. When the transaction as a whole
// fails it returns false: it left nothing behind, and each piece has to be run
// alone to find out whose fault it was. A constraint that is checked at COMMIT
// only is an example, a caller who gives up half way is another.
func (db *DB) together(group []*work) bool {
	if db.isClosed() {
		for _, w := range group {
			w.err = ErrClosed
		}
		return true
	}
	c := db.writer
	c.Before()
	defer c.After()
	if err := c.Do("BEGIN IMMEDIATE"); err != nil {
		return false
	}
	for _, w := range group {
		if !db.inSavepoint(w) {
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

// inSavepoint runs a piece of a group. It returns false when the group's
// transaction is lost.
func (db *DB) inSavepoint(w *work) bool {
	c := db.writer
	if err := w.ctx.Err(); err != nil {
		w.err = fmt.Errorf("driftdb: %w", context.Cause(w.ctx))
		return true
	}
	c.Before()
	if c.Do("SAVEPOINT driftdb_group") != nil {
		return false
	}
	stop := func() {}
	if !w.single { // a single statement watches its context itself
		stop = c.Watch(w.ctx)
	}
	w.err = db.finish(w.ctx, w.run())
	stop()
	if c.Autocommit() {
		return false // SQLite has rolled back everything
	}
	c.Before()
	if w.err != nil && c.Do("ROLLBACK TO driftdb_group") != nil {
		return false
	}
	return c.Do("RELEASE driftdb_group") == nil
}

// alone runs a piece in a commit of its own.
func (db *DB) alone(ctx context.Context, single bool, fn func() error) error {
	if db.isClosed() {
		return ErrClosed
	}
	c := db.writer
	c.Before()
	defer c.After()
	if single && !c.Restless() {
		if err := fn(); !c.Overtaken(err) {
			return db.refused(err)
		}
	}
	stop := c.Watch(ctx)
	defer stop()
	if err := c.Do("BEGIN IMMEDIATE"); err != nil {
		return db.finish(ctx, err)
	}
	defer func() { // after a panic; otherwise nothing is open any more
		stop()
		_ = c.Rollback()
	}()
	err := fn()
	if err == nil && c.Autocommit() {
		err = errTxLost
	}
	if err == nil {
		c.Before()
		err = db.finish(ctx, c.Do("COMMIT"))
	}
	if err != nil {
		stop()
		err = errors.Join(err, c.Rollback())
	}
	return db.refused(err)
}

func (db *DB) isClosed() bool {
	select {
	case <-db.closed:
		return true
	default:
		return false
	}
}
