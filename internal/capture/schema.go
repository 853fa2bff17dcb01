package capture

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Statements that may change the schema fire no hook, and tracing them loses
// some: when another connection has changed the schema, SQLite compiles a
// statement anew and runs it without a trace. So such a statement is run by us,
// under main's write lock. What was compiled is then what runs, and the schema
// cookie before and after tells whether it did anything: IF NOT EXISTS,
// failures, TEMP objects and attached databases drop out by themselves.

// version is what a schema statement may move.
type version struct {
	schema, user, application int64
	owned                     string // the definitions of our own tables
}

func (r *recorder) version() version {
	var v version
	for _, s := range []struct {
		st *sqlite.Stmt
		to *int64
	}{{r.st.schemaV, &v.schema}, {r.st.userV, &v.user}, {r.st.appV, &v.application}} {
		r.mustRun(s.st, func(st *sqlite.Stmt) { *s.to = st.Int64(0) })
	}
	v.owned = r.owned()
	return v
}

var errOwned = errors.New("tables whose names start with _driftdb_ are DriftDB's own and cannot be written, made or altered; use another name")

var errModule = errors.New("modules whose names start with driftdb_ are DriftDB's own and cannot be used in a schema; use another module")

func (c *Conn) execSchema(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	if usesOurModule(text) {
		return nil, errModule
	}
	if _, _, err := c.compile(text); err != nil {
		return nil, err // without waiting for the lock
	}
	c.Before()
	own := c.Autocommit()
	if own { // not BEGIN IMMEDIATE, which locks every attached database as well
		if err := c.Exec("BEGIN"); err != nil {
			return nil, err
		}
	}
	res, err := c.runSchema(ctx, text, args)
	if !own {
		return res, err
	}
	if err == nil {
		c.Before()
		_, err = c.Driver.ExecContext(ctx, "COMMIT", nil)
	}
	if err != nil {
		c.rollback()
		return nil, err
	}
	return res, nil
}

// lockMain takes main's write lock. Its error is the driver's own, unless there
// is no log.
func (c *Conn) lockMain(ctx context.Context) error {
	return c.r.unseen(func() error {
		_, err := c.Driver.ExecContext(ctx, "DELETE FROM main._driftdb_log WHERE 0", nil)
		if sqlite.Code(err) == lib.SQLITE_ERROR {
			return errTampered
		}
		return err
	})
}

func (c *Conn) runSchema(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	r := c.r
	first := lib.Xsqlite3_txn_state(c.TLS, c.DB, 0) != lib.SQLITE_TXN_WRITE // nothing has been written before this
	if err := c.lockMain(ctx); err != nil {
		if !c.Autocommit() && sqlite.Code(err) == lib.SQLITE_BUSY_SNAPSHOT {
			// The transaction's view is too old to write main on. What fails
			// for that, fails with the driver's own error; the rest is not ours.
			return c.Driver.ExecContext(ctx, text, args)
		}
		return nil, err
	}
	r.join()
	r.begin()
	r.readBlobs()
	if first {
		r.sequencesBefore()
	}
	if w := words(text, 2); w[0] == "CREATE" && w[1] == "VIRTUAL" {
		r.making = r.tableNames()
	}
	before := r.version()
	if r.fail != nil {
		return nil, r.fail
	}
	chunks, mark, statistics := len(r.chunks), len(r.buf), makesStatistics(text)
	if statistics {
		r.samples = r.readSamples()
		defer func() { r.samples = nil }()
	}
	stop := r.watchBounds(text)
	res, err := c.Driver.ExecContext(ctx, text, args)
	stop()
	r.making = nil
	if err != nil {
		return res, err
	}
	r.follow(text)
	after := r.version()
	switch {
	case r.fail != nil:
		return nil, r.fail
	case after.owned != before.owned:
		r.fail = errOwned // whatever the caller does next, this must not be committed
		return nil, errOwned
	case after != before && statistics:
		r.logStatistics(chunks, mark)
	case after != before:
		r.logSchema(text)
	}
	if statistics && r.fail == nil {
		r.logSamples(r.samples)
	}
	return res, r.fail
}

// logSchema appends the statement, in order with the rows.
func (r *recorder) logSchema(text string) {
	if r.over {
		return
	}
	if r.c.Has(sqlite.WriteSchema) && isDefinition(text) {
		// It then leaves alone what it cannot understand, and takes names that are
		// reserved. To repeat that would need a connection that may write the schema.
		r.barrier("the schema was changed under PRAGMA writable_schema")
		return
	}
	if r.outside {
		r.barrier("the schema was changed in a way that a replay may not repeat")
		return
	}
	text = statementText(text)
	settings := r.settings()
	if !isCreateAs(text) {
		r.buf = change.AppendSchema(r.buf, text, settings)
		r.count++
		r.trim()
		return
	}
	name, stored := r.newestTable()
	r.buf = change.AppendSchema(r.buf, stored, settings)
	r.count++
	r.logRows(name)
}

// watchBounds notes, until stop is called, whether a statement does what no replay of it
// would be allowed to do.
func (r *recorder) watchBounds(text string) (stop func()) {
	r.outside = false
	if isCreateAs(text) || makesStatistics(text) { // of these the log has another text
		return func() {}
	}
	bounds, ok := apply.BoundsOf(statementText(text))
	if !ok {
		r.outside = true
		return func() {}
	}
	return r.c.Authorize(func(a sqlite.Action) bool {
		r.outside = r.outside || !r.inside && !bounds.Allow(a)
		return true
	})
}

// isDefinition says whether a schema statement makes, alters or drops something.
func isDefinition(text string) bool {
	switch words(text, 1)[0] {
	case "ANALYZE", "REINDEX", "PRAGMA":
		return false
	}
	return true
}

// settings reads what decides how SQLite understands the statement.
func (r *recorder) settings() change.Settings {
	return change.Settings{
		ForeignKeys:      r.c.Has(sqlite.ForeignKeys),
		LegacyAlterTable: r.c.Has(sqlite.LegacyAlterTable),
		DoubleQuotedDDL:  r.c.Has(sqlite.DoubleQuotedDDL),
		DoubleQuotedDML:  r.c.Has(sqlite.DoubleQuotedDML),
	}
}

// newestTable is the table that CREATE TABLE … AS has just made: the last row
// of the schema table. SQLite has put its columns into a statement of its own.
func (r *recorder) newestTable() (name, sql string) {
	st, err := r.c.Prepare("SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' ORDER BY rowid DESC LIMIT 1")
	if err != nil {
		r.fail = err
		return "", ""
	}
	defer st.Finalize()
	r.mustRun(st, func(st *sqlite.Stmt) { name, sql = st.Text(0), st.Text(1) })
	return name, sql
}

// logRows appends an insert for every row of a table that CREATE TABLE … AS
// made; they fired no hook.
func (r *recorder) logRows(name string) {
	t, index := r.table([]byte(name))
	if r.fail != nil {
		return
	}
	if t.lost != "" {
		r.barrier(t.lost)
		return
	}
	st, err := r.c.Prepare("SELECT " + t.rowid + ", " + quoteAll(t.shape.Columns) + " FROM main." + sqlite.Quote(name))
	if err != nil {
		r.fail = err
		return
	}
	defer st.Finalize()
	r.mustRun(st, func(st *sqlite.Stmt) {
		if r.over {
			return
		}
		r.buf = change.AppendInsert(r.buf, index, &t.shape, st.Int64(0))
		for i := range t.stored {
			r.buf = appendValue(r.c.TLS, r.buf, lib.Xsqlite3_column_value(r.c.TLS, st.Handle(), int32(i+1)))
		}
		r.count++
		r.trim()
	})
}

func (r *recorder) tableNames() map[string]bool {
	names := map[string]bool{}
	st, err := r.c.Prepare("SELECT name FROM main.sqlite_schema WHERE type = 'table'")
	if err != nil {
		r.fail = err
		return names
	}
	defer st.Finalize()
	r.mustRun(st, func(st *sqlite.Stmt) { names[st.Text(0)] = true })
	return names
}

// execVacuum runs VACUUM, which may renumber the rows of tables without an
// INTEGER PRIMARY KEY, outside any transaction. It moves the schema cookie, so
// whatever commits next, here or on another connection or after a crash, finds
// a cookie that is not in the log and puts a barrier there.
func (c *Conn) execVacuum(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	const reason = "VACUUM may have renumbered rows"
	c.Before()
	defer c.Unseen(reason)()
	res, err := c.Driver.ExecContext(ctx, text, args)
	if err != nil {
		return nil, err
	}
	return res, c.Barrier(reason, true)
}

// Barrier commits a barrier. With ifMissed it does so only when the log does
// not tell of the database as it is: the schema is not the one that the log
// knows, or somebody else has committed, which then is the reason.
func (c *Conn) Barrier(reason string, ifMissed bool) error {
	r := c.r
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer c.rollback()
	known := int64(-1)
	r.mustRun(r.st.last, func(st *sqlite.Stmt) { known = st.Int64(2) })
	v := r.version()
	if r.fail != nil {
		return r.fail
	}
	_, notice := c.Missed()
	if ifMissed && known == v.schema && notice == 0 {
		return nil
	}
	r.begin()
	r.answering = true
	defer func() { r.answering = false }()
	r.cookie = known // this barrier is the answer; no second one is needed
	if notice == 0 { // or the commit adds it
		r.barrier(reason)
	}
	if err := c.Exec("COMMIT"); err != nil {
		return fmt.Errorf("capture: log a barrier (%s): %w", reason, err)
	}
	return nil
}

var errSameFile = errors.New("the database's own file cannot be attached: changes made through the second name could not be logged")

// execAttach runs ATTACH, but not of the file that is open already.
func (c *Conn) execAttach(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	c.Before()
	res, err := c.Driver.ExecContext(ctx, text, args)
	if err != nil {
		return nil, err
	}
	twin := ""
	if err := c.Each("SELECT d.name FROM pragma_database_list d, pragma_database_list m WHERE m.name = 'main' AND m.file <> '' AND d.name <> 'main' AND d.file = m.file", func(st *sqlite.Stmt) error {
		twin = st.Text(0)
		return nil
	}); err != nil {
		return nil, err
	}
	if twin == "" {
		return res, nil
	}
	return nil, errors.Join(errSameFile, c.Exec("DETACH "+sqlite.Quote(twin)))
}
