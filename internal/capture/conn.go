// Package capture sees to it that every change that a connection commits is in
// _driftdb_log, in the same transaction, whoever made it: a repository, raw SQL,
// an ORM, a trigger, a foreign-key action.
//
// Rows come from SQLite's preupdate hook and are written by a virtual table's
// xSync, which SQLite calls inside every commit: see recorder. Statements that
// may change the schema fire no hook; they are run under the write lock and
// logged as text: see schema.go. What cannot be logged becomes a barrier.
package capture

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

var capturing = func() *sqlite.Driver {
	d := new(sqlite.Driver)
	if err := d.RegisterModule(Module, module{}); err != nil {
		panic(err) // a driver of our own refuses its first module: a build with another driver
	}
	return d
}()

// Conn is a connection whose changes are captured.
//
// Statements go through its driver.Conn methods, or, prepared with the
// embedded Conn's methods, between Before and After.
type Conn struct {
	*sqlite.Conn
	r *recorder

	overtaken time.Time // when a statement could not keep up with the schema
}

var (
	_ driver.Conn               = (*Conn)(nil)
	_ driver.ExecerContext      = (*Conn)(nil)
	_ driver.QueryerContext     = (*Conn)(nil)
	_ driver.ConnPrepareContext = (*Conn)(nil)
	_ driver.ConnBeginTx        = (*Conn)(nil)
	_ driver.SessionResetter    = (*Conn)(nil)
	_ driver.Validator          = (*Conn)(nil)
	_ driver.Pinger             = (*Conn)(nil)
)

// Open opens a captured connection. The log's tables must be there.
func Open(path string, opts sqlite.Options, shared *Shared) (*Conn, error) {
	inner, err := capturing.Open(path, opts)
	if err != nil {
		return nil, err
	}
	r := newRecorder(inner, shared)
	c := &Conn{Conn: inner, r: r}
	recorders.Store(r.id, r)
	byHandle.Store(inner.DB, r)
	if err := r.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), c.Close())
	}
	lib.Xsqlite3_preupdate_hook(inner.TLS, inner.DB, sqlite.CFunc(preupdate), 0)
	inner.Driver.RegisterCommitHook(r.mayCommit)
	return c, nil
}

// Close rolls back an open transaction and closes the connection. A second
// Close does nothing.
func (c *Conn) Close() error {
	if _, open := recorders.Load(c.r.id); !open {
		return nil
	}
	c.r.close()
	c.Driver.RegisterCommitHook(nil) // the driver keeps hooks by handle, and handles are used again
	lib.Xsqlite3_preupdate_hook(c.TLS, c.DB, 0, 0)
	recorders.Delete(c.r.id)
	byHandle.Delete(c.DB)
	return c.Conn.Close()
}

// Before is called before a statement that was prepared outside database/sql
// is stepped.
func (c *Conn) Before() {
	r := c.r
	_ = r.gate.why() // of an earlier statement
	r.cascade.before()
	c.FailedBy(nil)
	r.join()
	if r.vtabs.stale() && c.Autocommit() {
		r.unlogged.ignoring(r.vtabs.ensure)
	}
}

// After is called after a statement has run. An INSERT OR IGNORE can move
// sqlite_sequence without any row event; that is logged here, in a commit of
// its own. Any other commit that changed pages of main without an entry gets a
// barrier, here or in the connection's next commit.
func (c *Conn) After() {
	r := c.r
	if !r.unlogged.pending() || !c.Autocommit() {
		return
	}
	r.unlogged.take()
	moved, err := r.sequences.moved(&r.buffer)
	if r.failed(err) {
		return
	}
	switch {
	case r.unlogged.settle(moved): // counters that have moved are in the same commit
		if err := c.Barrier(unloggedPages, false); err != nil {
			r.unlogged.postpone()
		}
		return
	case !moved:
		return
	}
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		r.unlogged.postpone()
		return
	}
	_ = c.lockMain(context.Background()) // we hold the lock, but BEGIN does not look for other connections' schema changes
	r.enlist()
	if err := c.Exec("COMMIT"); err != nil {
		r.unlogged.postpone()
		c.rollback()
	}
}

// refusal is an error of the driver's for a commit that failed within: its reason
// is one that was given to Shared.Refuse, or that our statements were interrupted.
type refusal struct{ err, why error }

func (r refusal) Error() string   { return r.err.Error() }
func (r refusal) Unwrap() []error { return []error{r.why, r.err} } // the reason first: its code is the one to go by

// explain makes an error of a commit that was refused comparable with the reason.
func (c *Conn) explain(err error) error {
	why := c.r.gate.why()
	if err == nil || why == nil {
		return err
	}
	return refusal{err, why}
}

// Admit lets the connection commit, until it is called with false, also what is contested
// by then: that was settled when the transaction began, which cannot be made again.
func (c *Conn) Admit(is bool) { c.r.gate.admit(is) }

// rollback ends a transaction that could not be committed.
func (c *Conn) rollback() {
	if !c.Autocommit() {
		_ = c.Exec("ROLLBACK") // a failure has rolled back already
	}
}

// BeginTx starts a transaction for database/sql.
func (c *Conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.Before()
	tx, err := c.Driver.BeginTx(ctx, opts)
	if err != nil && ctx.Err() != nil && sqlite.Stopped(err) {
		err = fmt.Errorf("begin a transaction: %w while waiting for another connection to release the write lock: %w", ctx.Err(), err)
	}
	if err != nil {
		return nil, err
	}
	return transaction{tx, c}, nil
}

type transaction struct {
	driver.Tx
	c *Conn
}

func (t transaction) Commit() error {
	t.c.Before()
	defer t.c.After()
	return t.c.explain(t.Tx.Commit())
}

// PrepareContext compiles a statement.
func (c *Conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	query = cString(query)
	st, err := c.Driver.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s := &statement{inner: st, c: c, query: query}
	s.script = classify(query) != plain || severalStatements(query)
	return s, nil
}

// Begin is BeginTx with the defaults.
func (c *Conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// Prepare is PrepareContext for callers of before database/sql had contexts.
func (c *Conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// ResetSession is the driver's own.
func (c *Conn) ResetSession(ctx context.Context) error {
	c.After()
	return c.Driver.ResetSession(ctx)
}

// IsValid says whether the connection may be used again.
func (c *Conn) IsValid() bool { return c.Driver.IsValid() }

// Ping checks the connection.
func (c *Conn) Ping(ctx context.Context) error { return c.Driver.Ping(ctx) }
