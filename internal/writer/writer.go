// Package writer manages the one connection that writes: whose turn it is, which writes
// share a commit, and how it is closed.
//
// The connection is only used by the caller that has the turn. Users take the turn for a
// statement or a script, a group of statements, or a transaction; the engine takes it for
// its own small commits; Close takes it for good.
package writer

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/inside"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

var (
	// ErrOwnTx is returned for a call that would wait for its own caller.
	ErrOwnTx = errors.New("the transaction whose function this is called from has the only writer, so it would wait for itself: write through the transaction, with tx.Exec, In(tx) of a repository, or Tx.Savepoint for a transaction in it")

	errLeftOpen = errors.New("the script left a transaction open, which was rolled back; use Tx")
)

// Options are the parts of the engine that a writer uses.
type Options struct {
	Hub  *capture.Shared
	Gate *Gate
	Log  event.Log

	// Refuse is why the program may not write, although the engine does; nil: it may.
	Refuse error
	// TakeOver takes over the database from another node that may be writing.
	TakeOver func(context.Context) error
	// Notice commits a barrier if others have committed to the file; the caller has the turn.
	Notice func(*capture.Conn) error
	// Interrupt interrupts a statement that the engine runs in its own turn.
	Interrupt func()
	// BusyTimeout is how long a write waits while a connection of DB.SQL has the turn.
	BusyTimeout time.Duration
	// Readers is the pool whose terms apply to the snapshot that the connection keeps, and whose
	// reads give way to writers that do not get to run.
	Readers *sqlite.Pool
}

// Writer is the connection that writes, and the turn to use it.
type Writer struct {
	Options
	conn  *capture.Conn
	never error // why there is no connection

	turn    turn
	kept    *sqlite.Keeper // small writes keep their snapshot for the next one
	group   []*work        // the caller with the turn runs these
	shared  int            // how many shared the last commit that could be shared; like the next, only for who has the turn
	apart   time.Time      // until then gather does not wait
	running atomic.Pointer[Tx]
	fns     inside.Place // the functions of transactions
}

// New returns a writer that uses conn; Close closes it.
func New(conn *capture.Conn, o Options) (*Writer, error) {
	w := &Writer{Options: o, conn: conn, turn: turn{limit: o.BusyTimeout}, fns: inside.New()}
	var err error
	o.Readers.AfterReads(w.turn.giveWay)
	if w.kept, err = o.Readers.Keep(conn.Conn, w.expire); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return w, nil
}

// None returns a writer without a connection, whose calls fail with why.
func None(why error) *Writer { return &Writer{never: why} }

// MayWrite is called before a write, without the turn. If another node was the last
// writer, it takes over the database, which happens once in a session.
func (w *Writer) MayWrite(ctx context.Context) error {
	if why := w.refusal(); why != nil {
		return why
	}
	if !w.Hub.Contested() {
		return nil
	}
	return w.TakeOver(ctx)
}

// refusal is why the program may not write, or nil.
func (w *Writer) refusal() error {
	if w.never != nil {
		return w.never
	}
	return w.Refuse
}

// enter waits for the turn.
func (w *Writer) enter(ctx context.Context) error {
	if w.never != nil {
		return w.never
	}
	if !w.try() {
		if err := w.Own(); err != nil && ctx.Err() == nil {
			return err
		}
		if err := w.wait(ctx, w.Gate.shut); err != nil {
			return err
		}
	}
	if w.Gate.IsShut() {
		w.leave()
		return ErrClosed
	}
	return nil
}

// try takes the turn if it is free, and gives up the snapshot: only Do keeps one.
func (w *Writer) try() bool {
	ok, _ := w.turn.try()
	if ok {
		w.kept.End()
	}
	return ok
}

// expire gives up the snapshot if its term is over, unless somebody has the turn: whoever
// leaves it calls expire.
func (w *Writer) expire() {
	for w.kept.Over() && w.try() {
		w.turn.release()
	}
}

// wait waits for the turn until ctx ends or the gate, if it is not nil, is shut. Like try, it
// gives up the snapshot.
func (w *Writer) wait(ctx context.Context, gate <-chan struct{}) error {
	c := new(claim)
	w.turn.ask(c)
	for {
		var err error
		select {
		case <-c.ready:
			switch w.turn.look(c) {
			case granted:
				w.kept.End()
				return nil
			case over:
				return c.err
			}
			continue
		case <-ctx.Done():
			err = waiting(ctx)
		case <-gate:
			err = ErrClosed
		}
		if w.turn.withdraw(c) {
			return err
		}
		<-c.ready // it was refused meanwhile
		w.turn.look(c)
		return c.err
	}
}

// waiting returns the error for a caller whose ctx ended before it got the turn.
func waiting(ctx context.Context) error {
	return fmt.Errorf("waiting for the writer: %w", context.Cause(ctx))
}

// StandBack blocks all writes until release is called, while the engine commits on its
// own connection. It also works during Close, when users no longer get the turn. It calls
// Notice first, or the engine's commit would be refused.
func (w *Writer) StandBack(ctx context.Context) (release func(), err error) {
	if err := w.wait(ctx, nil); err != nil {
		return nil, err
	}
	if err := w.Notice(w.conn); err != nil {
		w.leave()
		return nil, err
	}
	return w.leave, nil
}

// With takes the turn and runs fn with the connection.
func (w *Writer) With(ctx context.Context, fn func(*capture.Conn) error) error {
	if err := w.enter(ctx); err != nil {
		return err
	}
	defer w.leave()
	return fn(w.conn)
}

// IfFree runs fn with the connection if the turn is free.
func (w *Writer) IfFree(fn func(*capture.Conn) error) error {
	if !w.try() {
		return nil
	}
	defer w.leave()
	return fn(w.conn)
}

// Exec runs a script of one or more statements. If the script fails as contested, it
// takes over the database and runs the script again.
func (w *Writer) Exec(ctx context.Context, script string, args []driver.NamedValue) (driver.Result, error) {
	res, err := w.exec(ctx, script, args)
	if errors.Is(err, capture.ErrContested) {
		if err = w.MayWrite(ctx); err == nil {
			res, err = w.exec(ctx, script, args)
		}
	}
	return res, err
}

func (w *Writer) exec(ctx context.Context, script string, args []driver.NamedValue) (driver.Result, error) {
	if why := w.refusal(); why != nil {
		return nil, why
	}
	if err := w.enter(ctx); err != nil {
		return nil, err
	}
	defer w.leave()
	res, err := w.conn.ExecContext(ctx, script, args)
	if !w.conn.Autocommit() {
		err = errors.Join(err, errLeftOpen, w.conn.Rollback())
	}
	return res, w.refused(w.Gate.Explain(ctx, err))
}

// refused adds the reason to the error of a write that failed because writes are refused.
func (w *Writer) refused(err error) error {
	if err == nil {
		return nil
	}
	if why := w.Hub.Refused(); why != nil && !sqlite.IsConstraint(err) && !errors.Is(err, why) {
		return errors.Join(why, err)
	}
	return err
}

// Inside reports whether the caller runs in the function of the transaction that has the
// turn, where waiting for the writer would be a deadlock.
func (w *Writer) Inside() bool { return w.running.Load() != nil && w.fns.Here() }

// Own returns ErrOwnTx if the caller, which found the turn taken, is Inside.
func (w *Writer) Own() error {
	if w.Inside() {
		return ErrOwnTx
	}
	return nil
}

// recallEvery is how often Recall interrupts and retries after its deadline.
const recallEvery = 5 * time.Millisecond

// Recall waits until no user has the turn. The gate must be shut. Running work may go on
// until deadline; then it is interrupted, and an open transaction is rolled back.
func (w *Writer) Recall(deadline time.Time) error {
	w.turn.stop() // or it could refuse the claim
	c := new(claim)
	w.turn.ask(c)
	wait := time.NewTimer(time.Until(deadline))
	defer wait.Stop()
	for {
		select {
		case <-c.ready:
			if w.turn.look(c) == granted {
				w.leave()
				return nil
			}
			continue
		case <-wait.C:
		}
		if tx := w.running.Load(); tx != nil {
			if taken, err := tx.loan.Recall(ErrClosed, deadline); taken {
				w.turn.withdraw(c)
				w.leave() // the turn was the transaction's
				return err
			}
		}
		w.conn.Interrupt()
		w.Interrupt() // the engine takes the turn for its own small commits
		wait.Reset(recallEvery)
	}
}

// Close takes the turn for good, rolls back an open transaction, runs last with the
// connection, and closes it.
func (w *Writer) Close(last func(*capture.Conn) error) error {
	w.turn.stop()
	if err := w.wait(context.Background(), nil); err != nil {
		return err
	}
	return errors.Join(w.conn.Rollback(), last(w.conn), w.conn.Close())
}
