package driftdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Conn is what [Select] runs a query on: a *DB or a *Tx.
type Conn interface {
	conn() conn
}

// conn is a database, or a transaction on it.
type conn struct {
	db *DB
	tx *Tx // nil: outside of transactions
}

func (db *DB) conn() conn { return conn{db: db} }
func (tx *Tx) conn() conn { return conn{db: tx.db, tx: tx} }

// read runs fn with a statement for query, on a connection that only reads, or
// on the transaction's own.
func (c conn) read(ctx context.Context, query string, fn func(*sqlite.Stmt) error) error {
	if c.tx != nil {
		return c.tx.statement(ctx, query, fn)
	}
	err := c.db.conns.readers.Read(ctx, query, func(r *sqlite.Conn) error { return c.db.run(ctx, r, query, fn) })
	return c.db.gate.Explain(ctx, err)
}

// run runs fn with a statement of c for query.
func (db *DB) run(ctx context.Context, c *sqlite.Conn, query string, fn func(*sqlite.Stmt) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	stop := c.Watch(ctx)
	defer stop()
	st, err := c.Cached(query)
	if err != nil {
		return db.gate.Explain(ctx, err)
	}
	defer st.Release()
	return db.gate.Explain(ctx, fn(st))
}

// write runs fn in a transaction on the writer, or in a savepoint of the
// transaction: all of it happens, or nothing. It may share its commit with
// others, and then be run again: fn's only effects are on the database and on
// results of its caller's.
func (c conn) write(ctx context.Context, fn func(*capture.Conn) error) error {
	if c.tx == nil {
		return c.db.writer.Do(ctx, false, fn)
	}
	if c.tx.w == nil {
		return ErrReadOnly
	}
	own, err := c.tx.w.Savepoint(ctx, func() error {
		return c.tx.loan.InTx(ctx, func() error { return fn(c.tx.w.Conn()) })
	})
	return errors.Join(c.db.gate.Explain(ctx, own), err)
}

// writeOne runs fn with a statement for query on the writer, like write.
func (c conn) writeOne(ctx context.Context, query string, fn func(*sqlite.Stmt) error) error {
	if c.tx != nil {
		return c.tx.statement(ctx, query, fn)
	}
	return c.db.writer.Do(ctx, true, func(w *capture.Conn) error { return c.db.run(ctx, w.Conn, query, fn) })
}

// named turns arguments into what the driver binds. A bool is 0 or 1, and a
// time.Time is Unix milliseconds, as repositories store them.
func named(args []any) ([]driver.NamedValue, error) {
	out := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		out[i].Ordinal = i + 1
		if n, ok := arg.(sql.NamedArg); ok {
			out[i].Name, arg = n.Name, n.Value
		}
		v, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		if t, ok := v.(time.Time); ok {
			v = t.UnixMilli()
		}
		out[i].Value = v
	}
	return out, nil
}
