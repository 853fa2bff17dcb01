package driftdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/writer"
)

// Tx is a transaction. It is valid until the function that got it returns. Only one
// goroutine at a time may use it.
type Tx struct {
	db   *DB
	w    *writer.Tx   // nil: it only reads
	loan *sqlite.Loan // of its connection: ends with the transaction
}

// Tx runs fn in a transaction. It commits when fn returns nil, and rolls back when fn
// returns an error or panics, or when ctx ends. It waits for the one writer. In fn, write
// only through tx (tx.Exec, tx.Savepoint, In(tx) of a repository). Calls on the same
// goroutine that would wait for fn itself, such as a repository without In(tx), a
// statement of SQL, another Tx, Flush or Close, return an error at once. You can read
// without tx in fn; such reads see the database as it was before the transaction. Tx uses
// no network.
//
// On another goroutine, such a write waits for fn to return: do not wait for it in fn.
//
// [DB.Close] gives fn only a moment to finish. Then it rolls back, and whatever fn does
// next with tx, and Tx itself, fails with [ErrClosed].
func (db *DB) Tx(ctx context.Context, fn func(*Tx) error) error {
	own, err := db.writer.Tx(ctx, func(w *writer.Tx) error { return fn(&Tx{db: db, w: w, loan: w.Loan()}) })
	if own != nil {
		return db.passOn(ctx, own)
	}
	return fail(err)
}

// ReadTx runs fn in a read-only transaction: everything in it sees the database as it was
// when the transaction began, whatever is written meanwhile. [DB.Close] does not wait for
// fn: the next read in fn fails with [ErrClosed].
func (db *DB) ReadTx(ctx context.Context, fn func(*Tx) error) error {
	l, err := db.conns.readers.Get(ctx)
	if err != nil {
		return fail(err)
	}
	tx := &Tx{db: db, loan: l}
	defer tx.endRead(l.Conn.Watch(ctx))
	if err := l.Enter(); err != nil {
		return fail(err)
	}
	// The view begins with the first thing that is read.
	err = l.Conn.Exec("BEGIN; SELECT 1 FROM main.sqlite_schema LIMIT 1")
	l.Leave()
	if err != nil {
		return fail(db.gate.Explain(ctx, err))
	}
	return db.passOn(ctx, fn(tx))
}

func (tx *Tx) endRead(stop func()) {
	stop()
	var failed error
	if tx.loan.Enter() == nil {
		failed = tx.loan.Conn.Rollback()
		tx.loan.Leave()
	}
	tx.db.conns.readers.Put(tx.loan, writer.ErrTxDone)
	if failed != nil {
		tx.db.log.Error(event.RollbackFailed, "a rollback failed", "error", failed)
	}
}

// passOn is the error of a user's function, which is returned as it is; that of a
// statement which was interrupted, because of what that was.
func (db *DB) passOn(ctx context.Context, own error) error {
	if sqlite.Stopped(own) || errors.Is(own, sqlite.ErrTxLost) {
		return fail(db.gate.Explain(ctx, own))
	}
	return own
}

// Exec runs a script of one or more statements. Each statement gets all of args. A
// statement that begins, ends or divides a transaction is an error, see [Tx.Savepoint];
// the statements before it have already run.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (res sql.Result, err error) {
	values, err := named(args)
	switch {
	case err != nil:
	case tx.w != nil:
		res, err = tx.w.Exec(ctx, query, values)
	default:
		err = tx.loan.InTx(ctx, func() error {
			res, err = tx.execReading(ctx, query, values)
			return err
		})
		err = tx.db.gate.Explain(ctx, err)
	}
	if err != nil {
		return nil, fail(err)
	}
	return res, nil
}

// execReading is Exec on a connection that only reads.
func (tx *Tx) execReading(ctx context.Context, script string, args []driver.NamedValue) (res driver.Result, err error) {
	c := tx.loan.Conn
	for script, _, _ = strings.Cut(script, "\x00"); ; {
		st, rest, err := c.PrepareTail(script)
		if err != nil {
			return nil, err
		}
		if st != nil {
			st.Finalize()
		}
		text := script[:len(script)-len(rest)]
		if err := writer.Uncontrolled(text); err != nil {
			return nil, err
		}
		if res, err = c.Driver.ExecContext(ctx, text, args); err != nil {
			return nil, err
		}
		if script = rest; script == "" {
			return res, nil
		}
	}
}

// Savepoint runs fn in a nested part of the transaction. If fn returns an error or
// panics, only that part is rolled back.
func (tx *Tx) Savepoint(ctx context.Context, fn func(*Tx) error) error {
	if tx.w == nil {
		return ErrReadOnly
	}
	own, err := tx.w.Savepoint(ctx, func() error { return fn(tx) })
	switch {
	case own == nil:
		return fail(err)
	case err == nil:
		return tx.db.passOn(ctx, own)
	}
	return errors.Join(tx.db.passOn(ctx, own), fail(err))
}

// statement runs fn with a statement of the transaction's connection.
func (tx *Tx) statement(ctx context.Context, query string, fn func(*sqlite.Stmt) error) error {
	err := tx.loan.InTx(ctx, func() error {
		if tx.w != nil {
			tx.w.Conn().Before()
			defer tx.w.Conn().After()
		}
		return tx.db.run(ctx, tx.loan.Conn, query, fn)
	})
	return tx.db.gate.Explain(ctx, err)
}
