package restore

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// forged are statements that a stranger may have put into a log, to be run below a folder
// whose other files must not change.
var forged = []string{
	"ATTACH 'outside.db' AS x", "ATTACH 'outside.db' AS x; CREATE TABLE x.t(a)", "CREATE TABLE f(a); ATTACH 'outside.db' AS x",
	"attach database char(111, 117, 116) as x", "/* */ ATTACH ':memory:' AS x", "DETACH main",
	"VACUUM INTO 'outside.db'", "VACUUM", "COMMIT; VACUUM INTO 'outside.db'; BEGIN", "CREATE TABLE f(a); COMMIT; VACUUM INTO 'outside.db'; BEGIN",
	"COMMIT", "ROLLBACK", "ROLLBACK; BEGIN", "SAVEPOINT s", "RELEASE s", "BEGIN", "END", "CREATE TABLE f(a); ROLLBACK; BEGIN",
	"PRAGMA writable_schema=ON", "PRAGMA temp_store_directory='.'", "PRAGMA journal_mode=OFF", "PRAGMA main.journal_mode(WAL)", "PRAGMA hard_heap_limit=200000",
	"PRAGMA soft_heap_limit=1", "PRAGMA user_version", "PRAGMA user_version=1; PRAGMA synchronous=OFF", "PRAGMA temp.user_version=3", "PRAGMA foreign_keys=ON", "PRAGMA trusted_schema=ON",
	"PRAGMA max_page_count=1", "PRAGMA locking_mode=EXCLUSIVE", "PRAGMA wal_checkpoint", "PRAGMA integrity_check", "PRAGMA encoding='UTF-16'", "PRAGMA page_size=512",
	"SELECT 1", "SELECT load_extension('./x.so')", "INSERT INTO t VALUES(5, 5, 5)", "UPDATE t SET a = 9", "DELETE FROM t", "REPLACE INTO t VALUES(1, 2, 3)",
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c", "WITH x AS (SELECT 1) DELETE FROM t", "VALUES(1)", "EXPLAIN SELECT 1",
	"CREATE TABLE f AS SELECT randomblob(900000000) AS b", "CREATE TABLE f AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
	"CREATE TEMP TABLE f(a)", "CREATE TABLE temp.f(a)", "CREATE TEMP TRIGGER tr AFTER INSERT ON main.t BEGIN SELECT 1; END", "CREATE TEMPORARY VIEW v AS SELECT 1",
	"CREATE TABLE _driftdb_meta(a)", "CREATE TABLE _DriftDB_log(a)", "CREATE VIEW _driftdb_x AS SELECT 1", "CREATE INDEX _driftdb_i ON t(a)", "ALTER TABLE t RENAME TO _driftdb_log", "ALTER TABLE t RENAME TO \"_DRIFTDB_x\"",
	"CREATE TRIGGER _driftdb_tr AFTER INSERT ON t BEGIN SELECT 1; END", "CREATE VIRTUAL TABLE _driftdb_ft USING fts5(a)", "CREATE VIRTUAL TABLE temp.ft USING fts5(a)",
	"CREATE TABLE f(a, b DEFAULT (load_extension('./x.so'))); SELECT 1", "DROP TABLE sqlite_schema", "DROP TABLE temp.nothing", "", " ", ";", "--", "nonsense", "CREATE TABLE f(a); -- ;\n DROP TABLE t",
}

// TestForged: an entry of the log that is more than a change of the database is refused
// as damage, does nothing, and does not keep an earlier point from being restored.
func TestForged(t *testing.T) {
	outside := t.TempDir()
	t.Chdir(outside)
	for _, sql := range forged {
		h := newHistory(t)
		h.batch([]change.Entry{statement(createT)}, []change.Entry{insert(1, 1)})
		whole := h.m.LatestSequence
		h.batch([]change.Entry{statement(sql)}, []change.Entry{insert(2, 2)})
		if _, _, err := h.restore(0); !errors.Is(err, ErrDamaged) && !refusedBySQLite(err) {
			t.Errorf("%q: %v", sql, err)
		}
		if _, _, err := h.restore(whole); err != nil {
			t.Errorf("%q: the point before: %v", sql, err)
		}
		if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
			t.Fatalf("%q left %v (%v)", sql, left, err)
		}
	}
}

// refusedBySQLite says that a statement failed by itself, as one does that is not SQL or
// names what there is not.
func refusedBySQLite(err error) bool {
	return err != nil && (sqlite.Code(err)&0xff == 1 || strings.Contains(err.Error(), "not authorized"))
}

// TestForgedRows: rows are those of ordinary tables, and not our own.
func TestForgedRows(t *testing.T) {
	row := func(table string) change.Entry {
		e := insert(1, 1)
		e.Table = table
		return e
	}
	for _, table := range []string{"_driftdb_log", "_DRIFTDB_meta", "sqlite_dbpage", "SQLite_DBPage", "dbstat", "ft", "FT", "v", "sqlite_schema", "sqlite_temp_schema", "temp.t", "pragma_user_version", "json_each"} {
		h := newHistory(t)
		h.batch([]change.Entry{statement(createT)}, []change.Entry{statement("CREATE VIRTUAL TABLE ft USING fts5(id, a, b)")}, []change.Entry{statement("CREATE VIEW v AS SELECT id, a, b FROM t")})
		h.batch([]change.Entry{row(table)})
		if _, _, err := h.restore(0); err == nil {
			t.Errorf("%s: a row was put into it", table)
		}
	}
}

// TestSchemaOfAllKinds: what logs do hold is repeated.
func TestSchemaOfAllKinds(t *testing.T) {
	h := newHistory(t)
	for _, sql := range []string{
		createT, "CREATE TABLE IF NOT EXISTS main.\"x y\"(a INTEGER PRIMARY KEY AUTOINCREMENT, b REFERENCES t DEFAULT (random()), c AS (b + 1) STORED, CHECK(b > abs(a)))",
		"CREATE/* */TABLE w(a TEXT, b INT, PRIMARY KEY(b, a)) WITHOUT ROWID, STRICT;", "CREATE UNIQUE INDEX i ON t(a) -- ;", "CREATE INDEX j ON t(lower(a)) WHERE a > 1;  /* ; */ ",
		"CREATE VIEW v AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 3) SELECT x FROM c", "CREATE TRIGGER tr AFTER UPDATE OF a ON t BEGIN DELETE FROM \"x y\"; SELECT raise(IGNORE); END",
		"CREATE VIRTUAL TABLE f5 USING fts5(a, b, content='t')", "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1)", "CREATE VIRTUAL TABLE g USING geopoly(a)",
		"ALTER TABLE t RENAME TO t2", "ALTER TABLE t2 RENAME COLUMN a TO z", "ALTER TABLE t2 ADD COLUMN n DEFAULT 'x'", "ALTER TABLE t2 DROP COLUMN n", "ALTER TABLE f5 RENAME TO f6", "ALTER TABLE t2 RENAME TO t",
		"REINDEX", "REINDEX t", "ANALYZE sqlite_schema", "ANALYZE", "PRAGMA user_version = 7", "PRAGMA main.application_id(9)", "PRAGMA schema_version = 900",
		"DROP INDEX i", "DROP VIEW v", "DROP TRIGGER IF EXISTS tr", "DROP TABLE f6", "DROP TABLE r", "DROP TABLE g", "DROP TABLE IF EXISTS nope", "DROP TABLE \"x y\"",
	} {
		h.batch([]change.Entry{statement(sql)})
	}
	if _, _, err := h.restore(0); err != nil {
		t.Error(err)
	}
}

// TestForgedInTime: a statement that runs for ever ends with the context.
func TestForgedInTime(t *testing.T) {
	h := newHistory(t)
	h.batch([]change.Entry{statement(createT)})
	for i := range 40 {
		h.batch([]change.Entry{insert(int64(i), int64(i))})
	}
	h.batch([]change.Entry{statement("CREATE INDEX i ON t(length(replace(hex(zeroblob(200000 + a)), '0', '" + strings.Repeat("x", 500) + "')))")})
	h.confirm()
	file, err := dbfile.Take(filepath.Join(t.TempDir(), "r.db"))
	h.must(err)
	defer file.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = Run(ctx, h.b, Options{File: file})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// TestSwollenSnapshot: a snapshot that turns out larger than its manifest says is given
// up at once, not when it has filled the disk.
func TestSwollenSnapshot(t *testing.T) {
	h := newHistory(t)
	h.batch([]change.Entry{statement(createT)})
	h.snapshot(createT+"; CREATE TABLE pad AS SELECT zeroblob(1 << 20)", maps.Clone(h.set))
	s := &h.m.Snapshots[0]
	if s.Plain <= 1<<20 {
		t.Fatalf("the snapshot has %d bytes", s.Plain)
	}
	s.Plain = 8192
	h.confirm()
	written := int64(0)
	file, err := dbfile.Take(filepath.Join(t.TempDir(), "r.db"))
	h.must(err)
	defer file.Release()
	res, err := Run(t.Context(), h.b, Options{File: file, Progress: func(p Progress) {
		if p.Stage == Fetching {
			written = max(written, p.Done)
		}
	}})
	if err != nil || len(res.Damaged) != 1 || written > 256<<10 { // the log alone has it all
		t.Errorf("%+v, %v; %d bytes were written", res, err, written)
	}
}
