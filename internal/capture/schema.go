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

// Statements that may change the schema fire no hook, and tracing misses some of
// them: if another connection has changed the schema, SQLite recompiles a
// statement and runs it without a trace. So we run such statements ourselves,
// under main's write lock. The statement that runs is then the one that was
// compiled, and comparing the schema cookie before and after shows whether it did
// anything: IF NOT EXISTS, failures, TEMP objects and attached databases need no
// special case.

// version holds the numbers and definitions that a schema statement may change.
type version struct {
	schema, user, application int64
	owned                     string // the definitions of our own tables
}

// versions reads the three numbers of a version.
type versions struct {
	own                       *ownStatements
	schema, user, application *sqlite.Stmt
}

func (vs *versions) prepare() error {
	return vs.own.prepare(
		ownStatement{&vs.schema, "PRAGMA main.schema_version"},
		ownStatement{&vs.user, "PRAGMA main.user_version"},
		ownStatement{&vs.application, "PRAGMA main.application_id"},
	)
}

func (vs *versions) read() (v version, err error) {
	for _, s := range []struct {
		st *sqlite.Stmt
		to *int64
	}{{vs.schema, &v.schema}, {vs.user, &v.user}, {vs.application, &v.application}} {
		if _, err := vs.own.run(s.st, func(st *sqlite.Stmt) { *s.to = st.Int64(0) }); err != nil {
			return v, err
		}
	}
	return v, nil
}

func (r *recorder) version() version {
	v, err := r.versions.read()
	if !r.failed(err) {
		v.owned, err = r.ownTables.read()
		r.failed(err)
	}
	return v
}

var errOwned = errors.New("tables whose names start with _driftdb_ are DriftDB's own and cannot be written, made or altered; use another name")

var errModule = errors.New("modules whose names start with driftdb_ are DriftDB's own and cannot be used in a schema; use another module")

func (c *Conn) execSchema(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	if usesOurModule(text) {
		return nil, errModule
	}
	if _, _, err := c.compile(text); err != nil {
		return nil, err // before waiting for the lock
	}
	c.Before()
	own := c.Autocommit()
	if own { // not BEGIN IMMEDIATE, which would lock every attached database as well
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

// lockMain takes main's write lock. It returns the driver's own error, unless the
// log is missing.
func (c *Conn) lockMain(ctx context.Context) error {
	return c.r.own.do(func() error {
		_, err := c.Driver.ExecContext(ctx, "DELETE FROM main._driftdb_log WHERE 0", nil)
		if sqlite.Code(err) == lib.SQLITE_ERROR {
			return errTampered
		}
		return err
	})
}

func (c *Conn) runSchema(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	r := c.r
	first := lib.Xsqlite3_txn_state(c.TLS, c.DB, 0) != lib.SQLITE_TXN_WRITE // nothing was written before
	if err := c.lockMain(ctx); err != nil {
		if !c.Autocommit() && sqlite.Code(err) == lib.SQLITE_BUSY_SNAPSHOT {
			// The transaction's snapshot is too old to write main. A statement
			// that needs to fails with the driver's own error; any other
			// statement does not write main, so there is nothing to log.
			return c.Driver.ExecContext(ctx, text, args)
		}
		return nil, err
	}
	r.join()
	r.begin()
	r.readBlobs()
	if first {
		r.failed(r.sequences.noteBefore())
	}
	if w := words(text, 2); w[0] == "CREATE" && w[1] == "VIRTUAL" {
		r.vtabs.beginMaking(r.tableNames())
	}
	before := r.version()
	if r.fail != nil {
		return nil, r.fail
	}
	start, statistics := r.buffer.end(), makesStatistics(text)
	if statistics {
		r.samples = r.readSamples()
		defer func() { r.samples = nil }()
	}
	outside := r.watchBounds(text)
	res, err := c.Driver.ExecContext(ctx, text, args)
	repeatable := !outside()
	r.vtabs.endMaking()
	if err != nil {
		return res, err
	}
	r.failed(r.ownTables.follow(text))
	after := r.version()
	if after.schema != before.schema {
		r.reread.schemaChanged()
	}
	switch {
	case r.fail != nil:
		return nil, r.fail
	case after.owned != before.owned:
		r.fail = errOwned // this must not be committed, whatever the caller does next
		return nil, errOwned
	case after != before && statistics:
		r.logStatistics(start)
	case after != before:
		r.logSchema(text, repeatable)
	}
	if statistics && r.fail == nil {
		r.logSamples(r.samples)
	}
	return res, r.fail
}

// logSchema appends the statement, in order with the rows, if a replay may repeat it;
// otherwise it adds a barrier.
func (r *recorder) logSchema(text string, repeatable bool) {
	if r.buffer.givenUp() {
		return
	}
	if r.c.Has(sqlite.WriteSchema) && isDefinition(text) {
		// SQLite then ignores schema entries that it cannot parse, and allows reserved
		// names. A replay would need a connection that may write the schema.
		r.buffer.barrier("the schema was changed under PRAGMA writable_schema")
		return
	}
	if !repeatable {
		r.buffer.barrier("the schema was changed in a way that a replay may not repeat")
		return
	}
	text = statementText(text)
	settings := r.settings()
	if !isCreateAs(text) {
		r.buffer.add(change.AppendSchema(r.buffer.begin(), text, settings))
		r.trim()
		return
	}
	name, stored := r.newestTable()
	r.buffer.add(change.AppendSchema(r.buffer.begin(), stored, settings))
	r.logRows(name)
}

// watchBounds watches a statement until outside is called. outside reports whether the
// statement did anything that a replay of it would not be allowed to do.
func (r *recorder) watchBounds(text string) (outside func() bool) {
	if isCreateAs(text) || makesStatistics(text) { // the log gets another text for these
		return func() bool { return false }
	}
	bounds, ok := apply.BoundsOf(statementText(text))
	if !ok {
		return func() bool { return true }
	}
	found := false
	stop := r.c.Authorize(func(a sqlite.Action) bool {
		found = found || !r.own.active() && !bounds.Allow(a)
		return true
	})
	return func() bool {
		stop()
		return found
	}
}

// isDefinition reports whether a schema statement creates, alters or drops something.
func isDefinition(text string) bool {
	switch words(text, 1)[0] {
	case "ANALYZE", "REINDEX", "PRAGMA":
		return false
	}
	return true
}

// settings reads the settings that decide how SQLite interprets the statement.
func (r *recorder) settings() change.Settings {
	return change.Settings{
		ForeignKeys:      r.c.Has(sqlite.ForeignKeys),
		LegacyAlterTable: r.c.Has(sqlite.LegacyAlterTable),
		DoubleQuotedDDL:  r.c.Has(sqlite.DoubleQuotedDDL),
		DoubleQuotedDML:  r.c.Has(sqlite.DoubleQuotedDML),
	}
}

// newestTable returns the table that CREATE TABLE … AS has just made, which is the
// last row of the schema table. SQLite stores a statement of its own for it, which
// lists the columns.
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

// logRows appends an insert for every row of a table made by CREATE TABLE … AS;
// these rows fired no hook.
func (r *recorder) logRows(name string) {
	t, index, err := r.tables.find([]byte(name))
	if r.failed(err) {
		return
	}
	if t.lost != "" {
		r.buffer.barrier(t.lost)
		return
	}
	st, err := r.c.Prepare("SELECT " + t.rowid + ", " + quoteAll(t.shape.Columns) + " FROM main." + sqlite.Quote(name))
	if err != nil {
		r.fail = err
		return
	}
	defer st.Finalize()
	r.mustRun(st, func(st *sqlite.Stmt) {
		if r.buffer.givenUp() {
			return
		}
		entry := change.AppendInsert(r.buffer.begin(), index, &t.shape, st.Int64(0))
		for i := range t.stored {
			entry = appendValue(r.c.TLS, entry, lib.Xsqlite3_column_value(r.c.TLS, st.Handle(), int32(i+1)))
		}
		r.buffer.add(entry)
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
// INTEGER PRIMARY KEY and cannot run in a transaction. VACUUM changes the schema
// cookie, so the next commit, be it here, on another connection or after a crash,
// finds a cookie that is not in the log and adds a barrier.
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

// Barrier commits a barrier. With ifMissed it does so only if the log does not
// describe the database as it is: the schema is not the one in the log, or another
// program has committed, which then becomes the reason.
func (c *Conn) Barrier(reason string, ifMissed bool) error {
	r := c.r
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer c.rollback()
	end, err := r.log.end()
	r.failed(err)
	v := r.version()
	if r.fail != nil {
		return r.fail
	}
	_, notice := c.Missed()
	if ifMissed && end.schema == v.schema && notice == 0 {
		return nil
	}
	r.begin()
	r.cookie = end.schema // this barrier covers the schema change; no second one is needed
	if notice == 0 {      // otherwise the commit adds the barrier
		r.buffer.barrier(reason)
	}
	if err := r.gate.answer(func() error { return c.Exec("COMMIT") }); err != nil {
		return fmt.Errorf("capture: log a barrier (%s): %w", reason, err)
	}
	return nil
}

var errSameFile = errors.New("the database's own file cannot be attached: changes made through the second name could not be logged")

// execAttach runs ATTACH, but detaches the file again if it is main's own.
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
