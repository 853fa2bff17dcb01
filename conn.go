package driftdb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"database/sql"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Conn is where statements run: a *DB, or a *Tx.
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

// writer is the connection that writes, inside a transaction.
type writer struct {
	c *capture.Conn
}

// stmt returns a statement for query that the connection keeps compiled. The
// caller releases it.
func (w *writer) stmt(query string) (*sqlite.Stmt, error) { return w.c.Cached(query) }

// read runs fn with a statement for query, on a connection that only reads, or
// on the transaction's own.
func (c conn) read(ctx context.Context, query string, fn func(*sqlite.Stmt) error) error {
	if c.tx != nil {
		return c.tx.statement(ctx, query, fn)
	}
	l, err := c.db.readers.Get(ctx)
	if err != nil {
		return export(err)
	}
	defer c.db.readers.Put(l, errReadDone)
	if err := l.Enter(); err != nil {
		return err
	}
	defer l.Leave()
	return c.db.run(ctx, l.Conn, query, fn)
}

// run runs fn with a statement of c for query.
func (db *DB) run(ctx context.Context, c *sqlite.Conn, query string, fn func(*sqlite.Stmt) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := c.Watch(ctx)
	defer stop()
	st, err := c.Cached(query)
	if err != nil {
		return db.finish(ctx, err)
	}
	defer st.Release()
	return db.finish(ctx, fn(st))
}

// finish makes an error of SQLite's what the caller has to see: that of the
// context which ended, that the database is being closed, or a public one.
func (db *DB) finish(ctx context.Context, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrClosed):
		return err
	case !sqlite.Stopped(err) && !errors.Is(err, errTxLost):
	case ctx.Err() != nil:
		return fmt.Errorf("driftdb: %w", context.Cause(ctx))
	case db.isClosed():
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return export(err)
}

// write runs fn in a transaction on the writer, or in a savepoint of the
// transaction: all of it happens, or nothing. It may share its commit with
// others, and then be run again: fn's only effects are on the database and on
// results of its caller's.
func (c conn) write(ctx context.Context, fn func(*writer) error) error {
	if tx := c.tx; tx != nil {
		return tx.savepoint(ctx, func() error {
			return tx.use(ctx, func() error { return fn(&writer{tx.w}) })
		})
	}
	return c.db.submit(ctx, false, func() error { return fn(&writer{c.db.writer}) })
}

// writeOne runs fn with a statement for query on the writer, like write.
func (c conn) writeOne(ctx context.Context, query string, fn func(*sqlite.Stmt) error) error {
	if c.tx != nil {
		return c.tx.statement(ctx, query, fn)
	}
	return c.db.submit(ctx, true, func() error { return c.db.run(ctx, c.db.writer.Conn, query, fn) })
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
			return nil, fmt.Errorf("driftdb: argument %d: %w", i+1, err)
		}
		if t, ok := v.(time.Time); ok {
			v = t.UnixMilli()
		}
		out[i].Value = v
	}
	return out, nil
}
