package writer

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Group commit. A commit costs more than the statement it commits, so callers that find the
// turn taken queue their work, and whoever leaves the turn, or takes it next, does all of it in
// one transaction. Each piece is in its own savepoint, unless it is a single statement, which
// SQLite undoes by itself if it fails. A caller that finds the turn free runs its own work at
// once, with whatever waits.

// maxGroup limits how many pieces of work share a commit, and so how long the
// first of them waits.
const maxGroup = 256

// work is a piece of work for the writer. It may run more than once: if one piece of a group
// makes the transaction fail, the others run again.
type work struct {
	claim  claim
	ctx    context.Context
	single bool // fn runs one statement, which needs no transaction or savepoint around it
	fn     func(*capture.Conn) error

	panicked any // the value fn panicked with, for its own caller
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
	return p.claim.err
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
	if ok, crowded := w.turn.try(); ok {
		defer w.leave()
		w.gather()
		if crowded || w.turn.works() > 0 {
			return w.lead(&work{ctx: ctx, single: single, fn: fn})
		}
		return w.alone(ctx, single, fn)
	}
	if err := w.Own(); err != nil {
		return err
	}
	p := &work{ctx: ctx, single: single, fn: fn}
	p.claim.work = p
	w.turn.ask(&p.claim)
	stopped, shut := ctx.Done(), w.Gate.shut
	for {
		select {
		case <-p.claim.ready:
			switch w.turn.look(&p.claim) {
			case granted:
				defer w.leave()
				return w.lead(p)
			case over:
				return p.result()
			}
		case <-stopped:
			if w.turn.withdraw(&p.claim) {
				return waiting(ctx)
			}
			stopped = nil // it is running and will be interrupted
		case <-shut:
			if w.turn.withdraw(&p.claim) {
				return ErrClosed
			}
			shut = nil
		}
	}
}

// lead does own, with the work that waits. The caller has the turn.
func (w *Writer) lead(own *work) error {
	w.group = w.turn.collect(append(w.group[:0], own), maxGroup)
	w.runGroup()
	return own.result()
}

// leave does the work that waits, and gives up the turn. That is one more commit for a caller
// whose own work is done, but spares each of the others a wait until it runs again.
func (w *Writer) leave() {
	if w.turn.works() > 0 {
		w.gather()
		w.group = w.turn.collect(w.group[:0], maxGroup)
		w.runGroup()
	}
	w.turn.release()
	w.expire()
	w.turn.giveWay()
}

// gathering lasts at most this long, about what a commit takes. If it lasted much longer, it is not
// tried for twenty times as long.
const gathering = 50 * time.Microsecond

// gather waits for callers whose work the last commit did to queue what they do next. Beside readers
// that keep all processors busy, it would take their time slices.
func (w *Writer) gather() {
	if w.shared <= 1 {
		return
	}
	began := time.Now()
	if began.Before(w.apart) {
		return
	}
	took := time.Duration(0)
	for w.turn.works() < w.shared-1 && took < gathering {
		runtime.Gosched()
		took = time.Since(began)
	}
	if took > 4*gathering {
		w.apart = began.Add(20 * took)
	}
	if w.turn.works() == 0 {
		w.shared = 1 // they have nothing more to write
	}
}

// runGroup runs w.group.
func (w *Writer) runGroup() {
	w.shared = len(w.group)
	if len(w.group) == 0 {
		return // the claims were withdrawn
	}
	if len(w.group) == 1 || !w.together(w.group) {
		for _, p := range w.group {
			p.claim.err = w.alone(p.ctx, p.single, p.run)
		}
	}
	w.turn.finish(w.group)
	clear(w.group)
}

// together runs a group in one transaction. It returns false if the transaction
// as a whole fails, for example because of a deferred constraint or a caller that
// gives up midway. Nothing was committed then, and each piece must run alone to
// find out which one failed.
func (w *Writer) together(group []*work) bool {
	if w.Gate.IsShut() {
		for _, p := range group {
			p.claim.err = ErrClosed
		}
		return true
	}
	c := w.conn
	w.kept.End() // a group has so much to do that a snapshot brings it nothing
	c.Before()
	defer c.After()
	if err := c.Do("BEGIN IMMEDIATE"); err != nil {
		return false
	}
	for _, p := range group {
		if !w.inGroup(p) {
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

// inGroup runs a piece of a group. It returns false if the group's transaction is lost.
func (w *Writer) inGroup(p *work) bool {
	c := w.conn
	if p.ctx.Err() != nil {
		p.claim.err = context.Cause(p.ctx)
		return true
	}
	c.Before()
	if p.single {
		p.claim.err = w.Gate.Explain(p.ctx, p.run(c))
		return !c.Autocommit() // or SQLite has rolled back everything
	}
	return w.inSavepoint(p)
}

// inSavepoint is inGroup for more than one statement.
func (w *Writer) inSavepoint(p *work) bool {
	c := w.conn
	if c.Do("SAVEPOINT driftdb_group") != nil {
		return false
	}
	stop := c.Watch(p.ctx) // a single statement watches its own context
	p.claim.err = w.Gate.Explain(p.ctx, p.run(c))
	stop()
	if c.Autocommit() {
		return false
	}
	c.Before()
	if p.claim.err != nil && c.Do("ROLLBACK TO driftdb_group") != nil {
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
		if err := w.one(fn); !c.Overtaken(err) {
			return w.refused(w.Gate.Explain(ctx, err))
		}
	}
	w.kept.End()
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

// one runs fn, a single statement that commits by itself.
func (w *Writer) one(fn func(*capture.Conn) error) error {
	w.kept.Begin()
	err := fn(w.conn)
	if w.kept.Done(err) {
		err = fn(w.conn)
	}
	return err
}
