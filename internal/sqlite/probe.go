package sqlite

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// This file is the self-test of private.go. In an in-memory database, it checks that each
// private field changes when it should, and that its value is what SQLite reports wherever a
// program may ask. If SQLite has changed its structs, Open fails and nothing wrong is
// recorded.

// errPrivate means that SQLite's private structs are not the ones that this version of DriftDB
// knows.
var errPrivate = errors.New("sqlite: this version of modernc.org/sqlite keeps its state in another way; build with the version that DriftDB's go.mod names")

// proven holds whether this process has passed the self-test.
var proven struct {
	sync.Mutex
	is bool
}

// provePrivate runs the self-test unless it has already passed.
func provePrivate() error {
	proven.Lock()
	defer proven.Unlock()
	if proven.is {
		return nil
	}
	dc, err := new(sqlite.Driver).Open(":memory:")
	if err != nil {
		return err
	}
	tls, db, err := handleOf(dc)
	if err != nil {
		return errors.Join(err, dc.Close())
	}
	p := &probe{c: &Conn{Driver: dc.(driverConn), TLS: tls, DB: db, cache: map[string]*Stmt{}, cells: libc.Xcalloc(tls, 2, 8)}}
	err = errors.Join(p.run(), p.c.Close())
	proven.is = err == nil
	return err
}

// probe is a running self-test.
type probe struct {
	c     *Conn
	err   error // SQLite's
	wrong []string
	rows  []rowSeen
}

// rowSeen is what the hook saw of a row change.
type rowSeen struct{ nested, syncing bool }

func (p *probe) run() error {
	for _, part := range []func(){p.mutex, p.counters, p.joined, p.schema, p.settings, p.busy, p.pager, p.cells} {
		if part(); p.err != nil {
			return fmt.Errorf("sqlite: self-test: %w", p.err)
		}
	}
	if p.wrong != nil {
		return fmt.Errorf("%w (not as expected: %s)", errPrivate, strings.Join(p.wrong, ", "))
	}
	return nil
}

func (p *probe) exec(script string) {
	if err := p.c.Exec(script); err != nil && p.err == nil {
		p.err = fmt.Errorf("%s: %w", script, err)
	}
}

func (p *probe) int(query string) (n int64) {
	n, err := p.c.Int(query)
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("%s: %w", query, err)
	}
	return n
}

// expect records field as wrong unless ok.
func (p *probe) expect(ok bool, field string) {
	if !ok && !slices.Contains(p.wrong, field) {
		p.wrong = append(p.wrong, field)
	}
}

func (p *probe) mutex() {
	is := func() uintptr { return lib.Xsqlite3_db_mutex(p.c.TLS, p.c.DB) }
	p.c.restoreMutex()
	had := is()
	p.c.dropMutex()
	p.expect(had != 0 && is() == 0, "mutex")
	p.exec("SELECT 1")
	p.c.restoreMutex()
	p.expect(is() == had, "mutex")
	p.c.dropMutex()
}

func (p *probe) counters() {
	p.exec("CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t VALUES(41, 0), (42, 0), (43, 0); UPDATE t SET b = 1 WHERE a > 41")
	p.expect(p.c.Counters() == Counters{43, 2, 5}, "counters")
	p.expect(p.c.LastRowID() == 43, "lastRowid")
	set := Counters{1 << 40, 2 << 40, 3 << 40}
	p.c.SetCounters(set)
	p.expect(p.told() == set, "counters")
	p.exec("INSERT INTO t VALUES(44, 0)")
	p.expect(p.told() == Counters{44, 1, 3<<40 + 1} && p.c.Counters() == p.told(), "counters")
}

// told returns the counters as SQLite's API reports them.
func (p *probe) told() Counters {
	tls, db := p.c.TLS, p.c.DB
	return Counters{lib.Xsqlite3_last_insert_rowid(tls, db), lib.Xsqlite3_changes64(tls, db), lib.Xsqlite3_total_changes64(tls, db)}
}

// joined uses FTS5, which writes rows both within statements and within the commit.
func (p *probe) joined() {
	id := callbacks.keep(p)
	defer callbacks.drop(id)
	lib.Xsqlite3_preupdate_hook(p.c.TLS, p.c.DB, cmem.CFunc(probeRow), id)
	defer lib.Xsqlite3_preupdate_hook(p.c.TLS, p.c.DB, 0, 0)

	p.exec("CREATE VIRTUAL TABLE f USING fts5(x); CREATE VIRTUAL TABLE g USING fts5(x); BEGIN; INSERT INTO t VALUES(50, 0)")
	p.expect(p.c.Joined() == 0 && !p.c.JoinedOf("fts5") && !p.c.Syncing(), "nVTrans")
	rows := p.halfRead(func() []rowSeen { return p.seen("INSERT INTO t VALUES(51, 0)") })
	p.expect(slices.Equal(rows, []rowSeen{{}}), "nVdbeExec")
	rows = p.seen("INSERT INTO f VALUES('a')")
	p.expect(p.c.Joined() == 1, "nVTrans")
	p.expect(p.c.JoinedOf("fts5") && !p.c.JoinedOf("fts"), "aVTrans")
	p.expect(slices.Contains(rows, rowSeen{nested: true}), "nVdbeExec")
	p.expect(!slices.ContainsFunc(rows, func(s rowSeen) bool { return s.syncing }), "aVTrans")
	p.seen("INSERT INTO g VALUES('a')")
	p.expect(p.c.Joined() == 2, "nVTrans")
	rows = p.seen("COMMIT")
	p.expect(len(rows) > 0 && !slices.ContainsFunc(rows, func(s rowSeen) bool { return !s.syncing }), "aVTrans")
	p.expect(p.c.Joined() == 0 && !p.c.JoinedOf("fts5") && !p.c.Syncing(), "nVTrans")
}

// halfRead calls fn while the rows of another statement are only partly read: such a statement
// must not count as running.
func (p *probe) halfRead(fn func() []rowSeen) []rowSeen {
	st, err := p.c.Prepare("UPDATE t SET b = b RETURNING a")
	if err == nil {
		defer st.Finalize()
		_, err = st.Step()
	}
	if err != nil {
		p.err = errors.Join(p.err, err)
	}
	return fn()
}

// seen returns what the hook sees while script runs.
func (p *probe) seen(script string) []rowSeen {
	p.rows = nil
	p.exec(script)
	return p.rows
}

func probeRow(_ *libc.TLS, id, _ uintptr, _ int32, _, _ uintptr, _, _ int64) {
	p := called[*probe](id)
	p.rows = append(p.rows, rowSeen{p.c.Nested(), p.c.Syncing()})
}

func (p *probe) schema() {
	before := p.c.SchemaMark()
	p.expect(p.c.schemaLoaded(), "schemaFlags")
	p.expect(before.Cookie == p.int("PRAGMA schema_version"), "schema_cookie")
	p.exec("INSERT INTO t VALUES(60, 0)")
	p.expect(p.c.SchemaMark() == before, "iGeneration")
	p.exec("BEGIN; CREATE TABLE u(a)")
	p.expect(p.c.SchemaMark().Cookie == before.Cookie+1, "schema_cookie")
	p.exec("ROLLBACK")
	p.expect(!p.c.schemaLoaded(), "schemaFlags")
	p.exec("SELECT 1 FROM t")
	after := p.c.SchemaMark()
	p.expect(after.Cookie == before.Cookie && after != before, "iGeneration")
	names := map[string]bool{}
	p.c.eachVirtualTable(func(name string) { names[name] = true })
	p.expect(maps.Equal(names, map[string]bool{"f": true, "g": true}), "tblHash")
}

func (p *probe) settings() {
	for setting, op := range map[Setting]int32{
		WriteSchema: lib.SQLITE_DBCONFIG_WRITABLE_SCHEMA, ForeignKeys: lib.SQLITE_DBCONFIG_ENABLE_FKEY,
		LegacyAlterTable: lib.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE,
		DoubleQuotedDDL:  lib.SQLITE_DBCONFIG_DQS_DDL, DoubleQuotedDML: lib.SQLITE_DBCONFIG_DQS_DML,
	} {
		for _, on := range []bool{true, false} {
			if err := p.c.Configure(op, on); err != nil && p.err == nil {
				p.err = err
			}
			p.expect(p.c.Has(setting) == on, "flags")
		}
	}
}

func (p *probe) busy() {
	lib.Xsqlite3_busy_timeout(p.c.TLS, p.c.DB, 1234)
	p.expect(*busyTimeout(p.c.DB) == 1234, "busyTimeout")
	*busyTimeout(p.c.DB) = 2345
	p.expect(p.int("PRAGMA busy_timeout") == 2345, "busyTimeout")
}

// pager checks what walindex.go reads of a database that has no WAL.
func (p *probe) pager() {
	p.expect(p.c.wal() == nil && !p.c.WritesMain(), "pWal")
	p.exec("BEGIN IMMEDIATE; SELECT * FROM t")
	p.expect(!p.c.changed(), "eState")
	p.exec("INSERT INTO t VALUES(70, 0)")
	p.expect(p.c.changed(), "eState")
	p.expect(!p.c.WritesHeader(), "pPage1")
	p.exec("CREATE TABLE u(a)")
	p.expect(p.c.WritesHeader(), "pPage1")
	p.expect(p.c.PageCount() == p.int("PRAGMA page_count"), "nPage")
	p.exec("COMMIT; BEGIN; SELECT * FROM t")
	p.expect(!p.c.changed(), "eState")
	p.expect(p.c.PageCount() == p.int("PRAGMA page_count"), "nPage")
	p.exec("COMMIT")
}

// cells compares what we read from a row's memory with what SQLite reports.
func (p *probe) cells() {
	st, err := p.c.Prepare("SELECT 1 << 40, -2.5, 'text', '', x'00ff', x'', NULL, zeroblob(3), group_concat(a) FROM t")
	if err != nil {
		p.err = err
		return
	}
	defer st.Finalize()
	if m, _ := st.cell(0); m != nil {
		p.expect(false, "pResultRow")
		return
	}
	if _, p.err = st.Step(); p.err != nil {
		return
	}
	tls := p.c.TLS
	for i := range st.ColumnCount() {
		m, kind := st.cell(i)
		if p.expect(m != nil, "pResultRow"); m == nil {
			return
		}
		n := int32(i)
		p.expect(st.Type(i) == int(lib.Xsqlite3_column_type(tls, st.p, n)), "mem.flags")
		switch {
		case kind == lib.MEM_Int:
			p.expect(st.Int64(i) == lib.Xsqlite3_column_int64(tls, st.p, n), "mem.u")
		case kind == lib.MEM_Real:
			p.expect(st.Float(i) == lib.Xsqlite3_column_double(tls, st.p, n), "mem.u")
		case whole(m, kind):
			z := lib.Xsqlite3_column_blob(tls, st.p, n)
			p.expect(string(st.View(i)) == string(CBytes(z, int(lib.Xsqlite3_column_bytes(tls, st.p, n)))), "mem.z")
		}
	}
	m, _ := st.cell(st.ColumnCount())
	p.expect(m == nil, "nResColumn")
}
