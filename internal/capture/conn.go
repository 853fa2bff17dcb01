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

	"github.com/driftdb/driftdb-go/internal/sqlite"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

var capturing = func() *sqlite.Driver {
	d := new(sqlite.Driver)
	if err := d.RegisterModule("driftdb_capture", module{}); err != nil {
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
func Open(path string, opts sqlite.Options, hub *Hub) (*Conn, error) {
	inner, err := capturing.Open(path, opts)
	if err != nil {
		return nil, err
	}
	r := &recorder{
		c: inner, hub: hub, id: recorderID.Add(1),
		changed: map[string]bool{}, tables: map[string]*table{},
	}
	r.value = libc.Xcalloc(inner.TLS, 1, 8)
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

// mayCommit is SQLite's commit hook; anything but 0 turns the commit into a
// rollback. It is called after every xSync.
func (r *recorder) mayCommit() int32 {
	switch {
	case r.fail != nil, !r.synced && (r.count > 0 || r.level > 0):
		return 1
	case r.level == 0:
		r.unsettled = true // no row changed; INSERT OR IGNORE may have moved a counter: see After
	}
	return 0
}

// Close rolls back an open transaction and closes the connection.
func (c *Conn) Close() error {
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
	c.r.join()
	if now := c.r.schemaNow(); now != c.r.capsAt && c.Autocommit() {
		c.r.makeCaps()
		c.r.capsAt = now
	}
}

// After is called after a statement has run. An INSERT OR IGNORE can move
// sqlite_sequence without any row event; that is logged here, in a commit of
// its own.
func (c *Conn) After() {
	r := c.r
	if !r.unsettled || !c.Autocommit() {
		return
	}
	r.unsettled = false
	moved := false
	r.eachMoved(func(string, int64) { moved = true })
	if !moved || r.fail != nil {
		return
	}
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		r.unsettled = true // the next statement's end tries again
		return
	}
	r.enlist()
	if err := c.Exec("COMMIT"); err != nil {
		r.unsettled = true
		c.rollback()
	}
}

// rollback ends a transaction that could not be committed.
func (c *Conn) rollback() {
	if !c.Autocommit() {
		_ = c.Exec("ROLLBACK") // a failure has rolled back already
	}
}

// ExecContext runs a script, statement by statement. Each statement sees all
// of args, as with the driver itself.
func (c *Conn) ExecContext(ctx context.Context, script string, args []driver.NamedValue) (driver.Result, error) {
	var result driver.Result = driver.ResultNoRows
	for {
		text, rest, err := c.next(script)
		if err != nil {
			return nil, err
		}
		res, err := c.execOne(ctx, text, args)
		if err != nil {
			return nil, err
		}
		if words(text, 1)[0] != "" {
			result = res
		}
		if script = rest; script == "" {
			return result, nil
		}
	}
}

func (c *Conn) execOne(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	defer c.After()
	switch classify(text) {
	case schema:
		return c.execSchema(ctx, text, args)
	case vacuum:
		return c.execVacuum(ctx, text, args)
	}
	c.Before()
	res, err := c.Driver.ExecContext(ctx, text, args)
	if err == nil && words(text, 1)[0] == "PRAGMA" {
		err = c.r.restoreCaps()
	}
	return res, err
}

// next splits the first statement off script, as SQLite's parser sees it. A
// statement that does not compile is an error here and now: by the time the
// whole script were handed on, another connection's schema change could have
// made it compile, and it would run unseen.
func (c *Conn) next(script string) (text, rest string, err error) {
	if !severalStatements(script) {
		return script, "", nil
	}
	st, tail, err := c.PrepareTail(script)
	if err != nil {
		return "", "", c.driverError(script, err)
	}
	if st != nil {
		st.Finalize()
	}
	return script[:len(script)-len(tail)], tail, nil
}

// driverError lets the driver say itself that the first statement of script
// does not compile, so that callers see the error they know.
func (c *Conn) driverError(script string, err error) error {
	st, derr := c.Driver.PrepareContext(context.Background(), script)
	if derr != nil {
		return derr
	}
	return errors.Join(err, st.Close())
}

// QueryContext runs a script and returns the rows of its last statement.
func (c *Conn) QueryContext(ctx context.Context, script string, args []driver.NamedValue) (driver.Rows, error) {
	for {
		text, rest, err := c.next(script)
		if err != nil {
			return nil, err
		}
		if words(rest, 1)[0] == "" {
			return c.queryOne(ctx, text, args)
		}
		if _, err := c.execOne(ctx, text, args); err != nil {
			return nil, err
		}
		script = rest
	}
}

func (c *Conn) queryOne(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	switch classify(text) {
	case schema, vacuum:
		if words(text, 1)[0] != "PRAGMA" {
			if _, err := c.execOne(ctx, text, args); err != nil {
				return nil, err
			}
			return c.Driver.QueryContext(ctx, "SELECT 1 WHERE 0", nil)
		}
		if isRead(text) {
			break
		}
		if _, err := c.execOne(ctx, text, args); err != nil {
			return nil, err
		}
		return c.Driver.QueryContext(ctx, "SELECT 1 WHERE 0", nil)
	}
	c.After() // of an earlier query whose rows were closed since
	c.Before()
	return c.Driver.QueryContext(ctx, text, args)
}

// BeginTx starts a transaction for database/sql.
func (c *Conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Driver.BeginTx(ctx, opts)
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
	return t.Tx.Commit()
}

// PrepareContext compiles a statement.
func (c *Conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
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

// ResetSession, IsValid and Ping are the driver's own.
func (c *Conn) ResetSession(ctx context.Context) error {
	c.After()
	return c.Driver.ResetSession(ctx)
}

// IsValid says whether the connection may be used again.
func (c *Conn) IsValid() bool { return c.Driver.IsValid() }

// Ping checks the connection.
func (c *Conn) Ping(ctx context.Context) error { return c.Driver.Ping(ctx) }

// statement is a prepared statement for database/sql.
type statement struct {
	inner  driver.Stmt
	c      *Conn
	query  string
	script bool // has to take the way of a script each time
}

var (
	_ driver.StmtExecContext  = (*statement)(nil)
	_ driver.StmtQueryContext = (*statement)(nil)
)

func (s *statement) Close() error  { return s.inner.Close() }
func (s *statement) NumInput() int { return s.inner.NumInput() }

func (s *statement) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if s.script {
		return s.c.ExecContext(ctx, s.query, args)
	}
	s.c.Before()
	defer s.c.After()
	return s.inner.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s *statement) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if s.script {
		return s.c.QueryContext(ctx, s.query, args)
	}
	s.c.After()
	s.c.Before()
	return s.inner.(driver.StmtQueryContext).QueryContext(ctx, args)
}

// Exec is ExecContext with a background context.
func (s *statement) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), named(args))
}

// Query is QueryContext with a background context.
func (s *statement) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), named(args))
}

func named(args []driver.Value) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, v := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return out
}
