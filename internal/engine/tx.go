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
	w    *writer.Tx   // nil: it only reads
	loan *sqlite.Loan // of its connection: ends with the transaction
}

// Tx runs fn in a transaction. It returns fn's own error, which users get as it is, or
// another one.
func (db *DB) Tx(ctx context.Context, fn func(*Tx) error) (own, err error) {
	own, err = db.writer.Tx(ctx, func(w *writer.Tx) error { return fn(&Tx{db: db, w: w, loan: w.Loan()}) })
	if own != nil {
		return db.passOn(ctx, own)
	}
	return nil, err
}

// ReadTx runs fn in a read-only transaction, and returns what Tx does.
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
	// The view begins with the first thing that is read.
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

// passOn is the error of a user's function; but that of a statement which was
// interrupted is none of the user's, and is what has interrupted it.
func (db *DB) passOn(ctx context.Context, own error) (_, err error) {
	if sqlite.Stopped(own) || errors.Is(own, sqlite.ErrTxLost) {
		return nil, db.gate.Explain(ctx, own)
	}
	return own, nil
}

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

// Savepoint runs fn in a nested part of the transaction. It returns fn's own error, which
// users get as it is, and that of the savepoint itself.
func (tx *Tx) Savepoint(ctx context.Context, fn func() error) (own, err error) {
	if tx.w == nil {
		return nil, ErrReadOnly
	}
	own, err = tx.w.Savepoint(ctx, fn)
	own, stopped := tx.db.passOn(ctx, own)
	return own, errors.Join(stopped, err)
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
