// Package capture ensures that every change a connection commits is in
// _driftdb_log, in the same transaction, whatever made the change: a repository,
// raw SQL, an ORM, a trigger, a foreign-key action.
//
// Row changes come from SQLite's preupdate hook and are written by a virtual
// table's xSync, which SQLite calls inside every commit: see recorder. Statements
// that may change the schema fire no hook; they run under the write lock and are
// logged as text: see schema.go. Changes that cannot be logged become a barrier.
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
		panic(err) // our own driver refused its first module: a build with another driver
	}
	return d
}()

// Conn is a connection whose changes are captured.
//
// Statements run through its driver.Conn methods, or, if prepared with the
// embedded Conn's methods, between Before and After.
type Conn struct {
	*sqlite.Conn
	r *recorder

	overtaken time.Time // when a statement last could not keep up with schema changes
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

// Open opens a captured connection. The log's tables must exist.
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
	c.Driver.RegisterCommitHook(nil) // the driver keeps hooks by handle, and handles are reused
	lib.Xsqlite3_preupdate_hook(c.TLS, c.DB, 0, 0)
	recorders.Delete(c.r.id)
	byHandle.Delete(c.DB)
	return c.Conn.Close()
}

// Before is called before a statement is stepped that was prepared outside
// database/sql.
func (c *Conn) Before() {
	r := c.r
	_ = r.gate.why() // forget the refusal of an earlier statement
	r.cascade.before()
	c.FailedBy(nil)
	r.join()
	if c.Autocommit() {
		r.reread.before(c.Conn)
	}
	if r.vtabs.stale() && c.Autocommit() {
		r.unlogged.ignoring(r.vtabs.ensure)
	}
}

// After is called after a statement has run. An INSERT OR IGNORE can change
// sqlite_sequence without a row event; After logs that in a separate commit. Any
// other commit that changed pages of main without an entry gets a barrier, here or
// in the connection's next commit.
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
	case r.unlogged.settle(moved): // the barrier's commit also logs counters that moved
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
	_ = c.lockMain(context.Background()) // BEGIN has the lock, but does not check for schema changes of other connections
	r.enlist()
	if err := c.Exec("COMMIT"); err != nil {
		r.unlogged.postpone()
		c.rollback()
	}
}

// refusal is the driver's error for a commit that failed in one of our callbacks, and
// the reason: an error of Shared.mayCommit, or the interrupt of one of our statements.
type refusal struct{ err, why error }

func (r refusal) Error() string   { return r.err.Error() }
func (r refusal) Unwrap() []error { return []error{r.why, r.err} } // the reason first: its code counts

// explain adds the reason to the error of a commit that was refused.
func (c *Conn) explain(err error) error {
	why := c.r.gate.why()
	if err == nil || why == nil {
		return err
	}
	return refusal{err, why}
}

// Admit allows the connection, until it is called with false, to commit even what has
// become contested: the takeover was settled when the transaction began, and the
// transaction cannot be run again.
func (c *Conn) Admit(is bool) { c.r.gate.admit(is) }

// Barred returns why the log cannot describe the running transaction, or "".
func (c *Conn) Barred() (reason string) { return c.r.buffer.why() }

// rollback ends a transaction that could not be committed.
func (c *Conn) rollback() {
	if !c.Autocommit() {
		_ = c.Exec("ROLLBACK") // if it fails, SQLite has rolled back already
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

// Prepare is PrepareContext with a background context.
func (c *Conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// ResetSession calls After and the driver's own ResetSession.
func (c *Conn) ResetSession(ctx context.Context) error {
	c.After()
	return c.Driver.ResetSession(ctx)
}

// IsValid reports whether the connection may be used again.
func (c *Conn) IsValid() bool { return c.Driver.IsValid() }

// Ping checks the connection.
func (c *Conn) Ping(ctx context.Context) error { return c.Driver.Ping(ctx) }
