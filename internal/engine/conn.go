package engine

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

// Conn is where statements run: a database, or a transaction on it.
type Conn struct {
	db *DB
	tx *Tx // nil: outside a transaction
}

// Conn returns a Conn that runs statements on the database.
func (db *DB) Conn() Conn { return Conn{db: db} }

// Conn returns a Conn that runs statements in the transaction.
func (tx *Tx) Conn() Conn { return Conn{db: tx.db, tx: tx} }

// Within reports whether c is a transaction.
func (c Conn) Within() bool { return c.tx != nil }

// Read runs fn with a statement for query, on a read-only connection or on the
// transaction's own.
func (c Conn) Read(ctx context.Context, query string, fn func(*sqlite.Stmt) error) error {
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

// Write runs fn in a transaction on the writer, or in a savepoint of the transaction: all
// of it happens, or nothing. Outside a transaction it may share its commit with others,
// and fn may then run again, so fn must have no effects except on the database and on its
// caller's results.
func (c Conn) Write(ctx context.Context, fn func(*capture.Conn) error) error {
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

// WriteOne runs fn with a statement for query on the writer, like Write.
func (c Conn) WriteOne(ctx context.Context, query string, fn func(*sqlite.Stmt) error) error {
	if c.tx != nil {
		return c.tx.statement(ctx, query, fn)
	}
	return c.db.writer.Do(ctx, true, func(w *capture.Conn) error { return c.db.run(ctx, w.Conn, query, fn) })
}

// Named converts arguments to what the driver binds. A bool becomes 0 or 1, and a
// time.Time Unix milliseconds, as repositories store them.
func Named(args []any) ([]driver.NamedValue, error) {
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
