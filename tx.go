package driftdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Tx is a transaction, valid until the function that it was given to returns.
// It must not be used by several goroutines at once.
type Tx struct {
	db    *DB
	w     *capture.Conn // nil: it only reads
	c     *sqlite.Conn
	loan  *sqlite.Loan // of c: ends with the transaction
	stop  func()       // ends the watch over its context
	depth int          // of savepoints
}

var (
	errTxDone  = errors.New("driftdb: the transaction has ended")
	errTxLost  = errors.New("driftdb: the transaction has been rolled back already, by SQLite after an earlier error or by a statement in it")
	errControl = errors.New("driftdb: BEGIN, COMMIT, END, ROLLBACK, SAVEPOINT and RELEASE cannot be run in a transaction's function: return nil to commit and an error to roll back, and use Tx.Savepoint for a part")
)

// Tx runs fn in a transaction that is committed when fn returns nil, and
// rolled back when it returns an error, panics, or ctx ends. It waits for the
// one writer. In fn, write through tx only (tx.Exec, tx.Savepoint, In(tx) of a
// repository): what would wait for fn itself, such as a repository without In(tx),
// a statement of SQL, another Tx, Flush or Close on the same goroutine, is an error at
// once. What reads there without tx is allowed, and sees the database as it was
// before the transaction. It uses no network.
//
// On another goroutine such a write waits for fn to return: do not wait for it in fn.
//
// [DB.Close] waits for fn for a moment only. Then it rolls back, and what fn does
// next with tx, or Tx itself, fails with [ErrClosed].
func (db *DB) Tx(ctx context.Context, fn func(*Tx) error) error {
	tx, err := db.begin(ctx)
	if err != nil {
		return err
	}
	defer tx.end()
	db.txs.Call(func() { err = fn(tx) })
	if err != nil {
		return db.finish(ctx, err)
	}
	err = tx.use(ctx, func() error {
		tx.w.Before()
		return tx.c.Do("COMMIT")
	})
	return tableError("", db.refused(db.finish(ctx, err)))
}

// begin starts a transaction on the writer.
func (db *DB) begin(ctx context.Context) (*Tx, error) {
	if err := db.mayWrite(ctx); err != nil {
		return nil, err
	}
	if err := db.lock(ctx); err != nil {
		return nil, err
	}
	w := db.writer
	stop := w.Watch(ctx)
	w.Before()
	if err := w.Do("BEGIN IMMEDIATE"); err != nil {
		stop()
		db.unlock()
		return nil, db.finish(ctx, err)
	}
	w.Admit(true)
	tx := &Tx{db: db, w: w, c: w.Conn, stop: stop}
	tx.loan = sqlite.NewLoan(tx.c, tx.takeBack)
	db.running.Store(tx)
	return tx, nil
}

// end rolls back what was not committed and frees the writer, unless Close has
// taken it, and with it the turn to write.
func (tx *Tx) end() {
	var failed error
	mine := tx.loan.Return(errTxDone, func() { failed = tx.undo() })
	tx.db.running.Store(nil)
	if !mine {
		return
	}
	tx.db.unlock()
	if failed != nil {
		tx.db.log.Error(event.RollbackFailed, "a rollback failed", "error", failed)
	}
}

// undo rolls back. Interrupts are over by then: a rollback must not be stopped
// half way.
func (tx *Tx) undo() error {
	tx.stop()
	err := tx.c.Rollback()
	tx.w.Admit(false)
	tx.w.After()
	return err
}

// takeBack ends the transaction for Close.
func (tx *Tx) takeBack(why error, letGo func()) (told, failed error) {
	letGo()
	return fmt.Errorf("%w; the transaction was rolled back", why), tx.undo()
}

// ReadTx runs fn in a transaction that only reads: all of it sees the database
// as it was when the transaction began, whatever is written meanwhile.
// [DB.Close] does not wait for fn: what fn reads next fails with [ErrClosed].
func (db *DB) ReadTx(ctx context.Context, fn func(*Tx) error) error {
	l, err := db.readers.Get(ctx)
	if err != nil {
		return export(err)
	}
	tx := &Tx{db: db, c: l.Conn, loan: l, stop: l.Conn.Watch(ctx)}
	defer tx.endRead()
	if err := l.Enter(); err != nil {
		return err
	}
	// The view begins with the first thing that is read.
	err = tx.c.Exec("BEGIN; SELECT 1 FROM main.sqlite_schema LIMIT 1")
	l.Leave()
	if err != nil {
		return db.finish(ctx, err)
	}
	return db.finish(ctx, fn(tx))
}

func (tx *Tx) endRead() {
	tx.stop()
	var failed error
	if tx.loan.Enter() == nil {
		failed = tx.c.Rollback()
		tx.loan.Leave()
	}
	tx.db.readers.Put(tx.loan, errTxDone)
	if failed != nil {
		tx.db.log.Error(event.RollbackFailed, "a rollback failed", "error", failed)
	}
}

// Exec runs a script of one or more statements. Each sees all of args. A
// statement that begins, ends or divides a transaction is an error, see
// [Tx.Savepoint]; those before it have been run.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (res sql.Result, err error) {
	values, err := named(args)
	if err != nil {
		return nil, err
	}
	if tx.w == nil {
		err = tx.use(ctx, func() error {
			res, err = tx.execReading(ctx, query, values)
			return err
		})
		return res, tx.db.finish(ctx, err)
	}
	err = tx.use(ctx, func() error {
		res, err = tx.w.ExecChecked(ctx, query, values, uncontrolled)
		return err
	})
	return res, tableError("", tx.db.refused(tx.db.finish(ctx, err)))
}

// execReading is Exec on a connection that only reads.
func (tx *Tx) execReading(ctx context.Context, script string, args []driver.NamedValue) (res driver.Result, err error) {
	for script, _, _ = strings.Cut(script, "\x00"); ; {
		st, rest, err := tx.c.PrepareTail(script)
		if err != nil {
			return nil, err
		}
		if st != nil {
			st.Finalize()
		}
		text := script[:len(script)-len(rest)]
		if err := uncontrolled(text); err != nil {
			return nil, err
		}
		if res, err = tx.c.Driver.ExecContext(ctx, text, args); err != nil {
			return nil, err
		}
		if script = rest; script == "" {
			return res, nil
		}
	}
}

// uncontrolled refuses what would end the transaction, or divide it behind the
// back of Savepoint.
func uncontrolled(statement string) error {
	if capture.ControlsTransaction(statement) {
		return errControl
	}
	return nil
}

// use runs fn, which uses the transaction's connection, unless the transaction is
// over.
func (tx *Tx) use(ctx context.Context, fn func() error) error {
	if err := tx.loan.Enter(); err != nil {
		return err
	}
	defer tx.loan.Leave()
	if err := tx.usable(ctx); err != nil {
		return err
	}
	return fn()
}

// usable is asked during a use.
func (tx *Tx) usable(ctx context.Context) error {
	if tx.c.Autocommit() {
		return tx.db.finish(ctx, errTxLost) // or what follows would be committed one by one
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("driftdb: %w", context.Cause(ctx))
	}
	return nil
}

// Savepoint runs fn in a part of the transaction that is undone by itself when
// fn returns an error or panics.
func (tx *Tx) Savepoint(ctx context.Context, fn func(*Tx) error) error {
	return tx.savepoint(ctx, func() error { return fn(tx) })
}

func (tx *Tx) savepoint(ctx context.Context, fn func() error) (err error) {
	name := fmt.Sprintf("driftdb_%d", tx.depth)
	if err := tx.control(ctx, "SAVEPOINT "+name); err != nil {
		return err
	}
	tx.depth++
	kept := false
	defer func() {
		tx.depth--
		if kept {
			return
		}
		if failed := tx.undoPart(name); failed != nil {
			err = errors.Join(err, failed)
		}
	}()
	if err := fn(); err != nil {
		return tx.db.finish(ctx, err)
	}
	if err := tx.control(ctx, "RELEASE "+name); err != nil {
		return err
	}
	kept = true
	return nil
}

// control runs a statement of ours that divides the transaction.
func (tx *Tx) control(ctx context.Context, statement string) error {
	return tx.db.finish(ctx, tx.use(ctx, func() error {
		if tx.w == nil {
			return ErrReadOnly
		}
		tx.w.Before()
		return tx.c.Do(statement)
	}))
}

// undoPart rolls back to a savepoint, unless all of the transaction is gone. If
// that fails, all of it goes: what was undone must not be committed.
func (tx *Tx) undoPart(name string) error {
	if tx.loan.Enter() != nil {
		return nil
	}
	defer tx.loan.Leave()
	if tx.c.Autocommit() {
		return nil
	}
	tx.w.Before()
	if err := tx.c.Exec("ROLLBACK TO " + name + "; RELEASE " + name); err != nil {
		err = fmt.Errorf("driftdb: a part of the transaction could not be rolled back by itself: %w", err)
		return errors.Join(err, tx.c.Rollback())
	}
	return nil
}

// statement runs fn with a statement of the transaction's connection.
func (tx *Tx) statement(ctx context.Context, query string, fn func(*sqlite.Stmt) error) error {
	return tx.use(ctx, func() error {
		if tx.w != nil {
			tx.w.Before()
			defer tx.w.After()
		}
		return tx.db.run(ctx, tx.c, query, fn)
	})
}
