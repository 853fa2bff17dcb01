package writer

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

var (
	// ErrTxDone is returned when a transaction is used after its function has returned.
	ErrTxDone = errors.New("the transaction has ended")
	// ErrControl is returned for a statement that would begin or end a transaction, or
	// divide it without Savepoint.
	ErrControl = errors.New("BEGIN, COMMIT, END, ROLLBACK, SAVEPOINT and RELEASE cannot be run in a transaction's function: return nil to commit and an error to roll back, and use Tx.Savepoint for a part")
)

// Tx is a transaction that has the turn.
type Tx struct {
	w     *Writer
	loan  *sqlite.Loan // of the connection; ends with the transaction
	stop  func()       // stops watching the context
	depth int          // of open savepoints

	// Committed, if not nil, is called after the commit, before anyone else can write.
	Committed func()
}

// Conn returns the transaction's connection, for use only within a use of Loan.
func (tx *Tx) Conn() *capture.Conn { return tx.w.conn }

// Loan returns the connection's loan.
func (tx *Tx) Loan() *sqlite.Loan { return tx.loan }

// Tx runs fn in a transaction and commits it if fn returns nil. It returns fn's own error
// and the transaction's error separately.
func (w *Writer) Tx(ctx context.Context, fn func(*Tx) error) (own, err error) {
	tx, err := w.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.end()
	if w.fns.Call(func() { own = fn(tx) }); own != nil {
		return own, nil
	}
	err = tx.loan.InTx(ctx, func() error {
		w.conn.Before()
		err := w.conn.Do("COMMIT")
		if err == nil && tx.Committed != nil {
			tx.Committed()
		}
		return err
	})
	return nil, w.refused(w.Gate.Explain(ctx, err))
}

// begin takes the turn and starts a transaction.
func (w *Writer) begin(ctx context.Context) (*Tx, error) {
	if err := w.MayWrite(ctx); err != nil {
		return nil, err
	}
	if err := w.enter(ctx); err != nil {
		return nil, err
	}
	c := w.conn
	stop := c.Watch(ctx)
	c.Before()
	if err := c.Do("BEGIN IMMEDIATE"); err != nil {
		stop()
		w.leave()
		return nil, w.Gate.Explain(ctx, err)
	}
	c.Admit(true)
	tx := &Tx{w: w, stop: stop}
	tx.loan = sqlite.NewLoan(c.Conn, tx.takeBack)
	w.running.Store(tx)
	return tx, nil
}

// end rolls back whatever was not committed and gives up the turn, unless Close has taken
// back the connection, and the turn with it.
func (tx *Tx) end() {
	var failed error
	mine := tx.loan.Return(ErrTxDone, func() { failed = tx.undo() })
	tx.w.running.Store(nil)
	if !mine {
		return
	}
	tx.w.leave()
	if failed != nil {
		tx.w.Log.Error(event.RollbackFailed, "a rollback failed", "error", failed)
	}
}

// undo stops the interrupts and rolls back: a rollback must not be interrupted
// midway.
func (tx *Tx) undo() error {
	tx.stop()
	c := tx.w.conn
	err := c.Rollback()
	c.Admit(false)
	c.After()
	return err
}

// takeBack ends the transaction for Close.
func (tx *Tx) takeBack(why error, letGo func()) (told, failed error) {
	letGo()
	return fmt.Errorf("%w; the transaction was rolled back", why), tx.undo()
}

// Exec runs a script of one or more statements. It returns [ErrControl] at a statement
// that begins, ends or divides a transaction; the statements before it have run.
func (tx *Tx) Exec(ctx context.Context, script string, args []driver.NamedValue) (res driver.Result, err error) {
	err = tx.loan.InTx(ctx, func() error {
		res, err = tx.w.conn.ExecChecked(ctx, script, args, Uncontrolled)
		return err
	})
	return res, tx.w.refused(tx.w.Gate.Explain(ctx, err))
}

// Uncontrolled returns [ErrControl] for a statement that must not run in a transaction's
// function.
func Uncontrolled(statement string) error {
	if capture.ControlsTransaction(statement) {
		return ErrControl
	}
	return nil
}

// Savepoint runs fn in a savepoint, which is rolled back if fn returns an error or panics;
// the rest of the transaction stays. It returns fn's own error and the savepoint's error
// separately.
func (tx *Tx) Savepoint(ctx context.Context, fn func() error) (own, err error) {
	name := fmt.Sprintf("driftdb_%d", tx.depth)
	if err := tx.control(ctx, "SAVEPOINT "+name); err != nil {
		return nil, err
	}
	tx.depth++
	kept := false
	defer func() {
		tx.depth--
		if kept {
			return
		}
		err = errors.Join(err, tx.undoPart(name))
	}()
	if own = fn(); own != nil {
		return own, nil
	}
	if err := tx.control(ctx, "RELEASE "+name); err != nil {
		return nil, err
	}
	kept = true
	return nil, nil
}

// control runs one of our own statements that divide the transaction.
func (tx *Tx) control(ctx context.Context, statement string) error {
	return tx.w.Gate.Explain(ctx, tx.loan.InTx(ctx, func() error {
		tx.w.conn.Before()
		return tx.w.conn.Do(statement)
	}))
}

// undoPart rolls back to a savepoint, unless the whole transaction is gone. If that
// fails, it rolls back the whole transaction, because the part must not be committed.
func (tx *Tx) undoPart(name string) error {
	if tx.loan.Enter() != nil {
		return nil
	}
	defer tx.loan.Leave()
	c := tx.w.conn
	if c.Autocommit() {
		return nil
	}
	c.Before()
	if err := c.Exec("ROLLBACK TO " + name + "; RELEASE " + name); err != nil {
		err = fmt.Errorf("a part of the transaction could not be rolled back by itself: %w", err)
		return errors.Join(err, c.Rollback())
	}
	return nil
}
