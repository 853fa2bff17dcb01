package engine

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
	w    *writer.Tx   // nil: a read transaction
	loan *sqlite.Loan // of the connection; ends with the transaction

	sequence int64 // of the last change when it committed; 0: it has not
}

// Tx runs fn in a transaction. It returns fn's own error as own, which users get
// unchanged, or any other error as err.
func (db *DB) Tx(ctx context.Context, fn func(*Tx) error) (own, err error) {
	own, err = db.writer.Tx(ctx, func(w *writer.Tx) error {
		tx := &Tx{db: db, w: w, loan: w.Loan()}
		w.Committed = func() { tx.sequence = db.hub.Sequence() }
		return fn(tx)
	})
	if own != nil {
		return db.passOn(ctx, own)
	}
	return nil, err
}

// ReadTx runs fn in a read-only transaction. Its results are as Tx's.
func (db *DB) ReadTx(ctx context.Context, fn func(*Tx) error) (own, err error) {
	l, err := db.conns.readers.Get(ctx)
	if err != nil {
		return nil, err
	}
	tx := &Tx{db: db, loan: l}
	defer tx.endRead(l.Conn.Watch(ctx))
	if err := l.Enter(); err != nil {
		return nil, err
	}
	// SQLite takes its snapshot at the first read.
	err = l.Conn.Exec("BEGIN; SELECT 1 FROM main.sqlite_schema LIMIT 1")
	l.Leave()
	if err != nil {
		return nil, db.gate.Explain(ctx, err)
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
		tx.db.cfg.Log.Error(event.RollbackFailed, "a rollback failed", "error", failed)
	}
}

// passOn returns the error of a user's function as it is. The error of an interrupted
// statement is not the user's own, though: passOn replaces it with the cause of the
// interruption.
func (db *DB) passOn(ctx context.Context, own error) (_, err error) {
	if sqlite.Stopped(own) || errors.Is(own, sqlite.ErrTxLost) {
		return nil, db.gate.Explain(ctx, own)
	}
	return own, nil
}

// Sequence returns the number of the last change when the transaction committed; 0 if it
// has not.
func (tx *Tx) Sequence() int64 { return tx.sequence }

// Exec runs a script of one or more statements.
func (tx *Tx) Exec(ctx context.Context, script string, args []any) (res sql.Result, err error) {
	values, err := Named(args)
	switch {
	case err != nil:
	case tx.w != nil:
		res, err = tx.w.Exec(ctx, script, values)
	default:
		err = tx.loan.InTx(ctx, func() error {
			res, err = tx.execReading(ctx, script, values)
			return err
		})
		err = tx.db.gate.Explain(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	return res, nil
}

// execReading is Exec on a read-only connection.
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

// Savepoint runs fn in a nested part of the transaction. It returns fn's own error, which
// users get unchanged, and the error of the savepoint itself.
func (tx *Tx) Savepoint(ctx context.Context, fn func() error) (own, err error) {
	if tx.w == nil {
		return nil, ErrReadOnly
	}
	own, err = tx.w.Savepoint(ctx, fn)
	own, stopped := tx.db.passOn(ctx, own)
	return own, errors.Join(stopped, err)
}

// statement runs fn with a statement on the transaction's connection.
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
