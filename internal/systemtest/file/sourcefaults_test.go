package file_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// faultySource is a database that somebody has adopted with a fault of its own.
type faultySource struct {
	script string   // of another program
	faults []string // that are told of it
	write  []string // what a program can still do with it
}

const (
	fragile = "PRAGMA writable_schema=ON; "
	altered = "; PRAGMA writable_schema=RESET; "
)

// altering changes the text of a schema object without touching what it holds.
func altering(name, sql string) string {
	return fragile + "UPDATE sqlite_schema SET sql = '" + sql + "' WHERE name = '" + name + "'" + altered
}

// behindIndex runs a statement that an index takes no notice of.
func behindIndex(index, statement string) string {
	return "CREATE TABLE hidden AS SELECT * FROM sqlite_schema WHERE name = '" + index + "'; " +
		fragile + "DELETE FROM sqlite_schema WHERE name = '" + index + "'" + altered + statement + "; " +
		fragile + "INSERT INTO sqlite_schema SELECT * FROM hidden" + altered + "DROP TABLE hidden;"
}

var faultySources = map[string]faultySource{
	"a NULL in a NOT NULL column": {
		"CREATE TABLE t(a, b); INSERT INTO t VALUES(NULL, 1), (2, 2);" + altering("t", "CREATE TABLE t(a NOT NULL, b)"),
		[]string{`table "t": NULL value in t.a`},
		[]string{"UPDATE t SET b = 7 WHERE a IS NULL", "INSERT INTO t VALUES(3, 3)"},
	},
	"an index without the newest rows": {
		"CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES(1), (2);" + behindIndex("i", "INSERT INTO t VALUES(3), (4)"),
		[]string{`table "t": row missing from index i`, `table "t": wrong # of entries in index i`},
		[]string{"INSERT INTO t VALUES(5)", "UPDATE t SET a = a + 10 WHERE a = 1", "DELETE FROM t WHERE a = 2"},
	},
	"two rows of one unique key": {
		"CREATE TABLE t(a); CREATE UNIQUE INDEX i ON t(a); INSERT INTO t VALUES(1), (2);" + behindIndex("i", "INSERT INTO t VALUES(2)"),
		[]string{`table "t": row missing from index i`, `table "t": wrong # of entries in index i`},
		[]string{"INSERT INTO t VALUES(5)"},
	},
	"a column's unknown collation": {
		"CREATE TABLE t(a TEXT, b); CREATE INDEX i ON t(a); INSERT INTO t VALUES('x', 1), ('Y', 2);" + altering("t", "CREATE TABLE t(a TEXT COLLATE german, b)"),
		[]string{`table "t": it needs what this program lacks: no such collation sequence: german`},
		nil,
	},
	"a key's unknown collation": {
		"CREATE TABLE t(a TEXT PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO t VALUES('x', 1), ('y', 2);" + altering("t", "CREATE TABLE t(a TEXT COLLATE german PRIMARY KEY, b) WITHOUT ROWID"),
		[]string{`table "t": it needs what this program lacks: no such collation sequence: german`},
		nil,
	},
	"an index on an unknown collation": {
		"CREATE TABLE t(a TEXT, b); CREATE INDEX i ON t(a); INSERT INTO t VALUES('x', 1), ('y', 2);" + altering("i", "CREATE INDEX i ON t(a COLLATE german)"),
		[]string{`table "t": it needs what this program lacks: no such collation sequence: german`},
		nil,
	},
	"an unknown tokenizer": {
		"CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('one two');" + altering("f", "CREATE VIRTUAL TABLE f USING fts5(x, tokenize=german)"),
		[]string{`table "f": it needs what this program lacks: no such tokenizer: german`},
		nil,
	},
	"an unknown module": {
		"CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('one two');" + altering("f", "CREATE VIRTUAL TABLE f USING german(x)"),
		[]string{`table "f": it needs what this program lacks: no such module: german`},
		nil,
	},
	"a generated column whose function is gone": {
		"CREATE TABLE t(a, g AS (abs(a)), s AS (abs(a)) STORED); INSERT INTO t VALUES(-1), (2);" + altering("t", "CREATE TABLE t(a, g AS (german(a)), s AS (german(a)) STORED)"),
		[]string{`table "t": it needs what this program lacks: unknown function: german()`},
		nil,
	},
	"a CHECK that nobody enforced": {
		"CREATE TABLE t(a CHECK(a > 0), b); PRAGMA ignore_check_constraints=ON; INSERT INTO t VALUES(-1, 1), (1, 2);",
		[]string{`table "t": CHECK constraint failed in t`},
		[]string{"UPDATE t SET a = 5 WHERE b = 2", "DELETE FROM t WHERE a = -1"},
	},
	"a CHECK with an unknown function": {
		"CREATE TABLE t(a CHECK(abs(a) > 0), b); INSERT INTO t VALUES(1, 2);" + altering("t", "CREATE TABLE t(a CHECK(german(a) > 0), b)"),
		[]string{`table "t": it needs what this program lacks: unknown function: german()`},
		nil,
	},
	"text in a STRICT table's number": {
		"CREATE TABLE t(a ANY, b ANY) STRICT; INSERT INTO t VALUES('x', 1), (2, 2);" + altering("t", "CREATE TABLE t(a INT, b ANY) STRICT"),
		[]string{`table "t": non-INT value in t.a`},
		[]string{"INSERT INTO t VALUES(3, 3)"},
	},
	"a search index that lacks its text": {
		"CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('one two'), ('three'); DELETE FROM f_content WHERE id = 1",
		[]string{`table "f": malformed inverted index for FTS5 table main.f`},
		[]string{"INSERT INTO f VALUES('four')"},
	},
	"an R-tree that lacks a row": {
		"CREATE VIRTUAL TABLE r USING rtree(id, a, b); INSERT INTO r VALUES(1, 0, 1), (2, 2, 3); DELETE FROM r_rowid WHERE rowid = 1",
		[]string{`table "r": Mapping (1 -> 1) missing from %_rowid table`, `table "r": Wrong number of entries in %_rowid table - expected 2, actual 1`},
		[]string{"INSERT INTO r VALUES(3, 4, 5)"},
	},
	"an index filed under another table": {
		"CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES(1), (2);" + fragile + "UPDATE sqlite_schema SET tbl_name = 'u' WHERE name = 'sqlite_autoindex_t_1'" + altered,
		[]string{`table "sqlite_schema": damaged: index "sqlite_autoindex_t_1" does not belong to table "u"`},
		[]string{"INSERT INTO t VALUES(3)", "DELETE FROM t WHERE a = 2"},
	},
	"rows without their parents": {
		"CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE t(a REFERENCES p); INSERT INTO t VALUES(1), (2)",
		[]string{`table "t": rows refer to a missing row`},
		[]string{"INSERT INTO p VALUES(1)", "DELETE FROM t WHERE a = 2"},
	},
}

// TestSourceFaults adopts databases that are not as they should be, and works with them.
// Each has a backup at once; Metrics, the bucket, one event and each restore tell of the
// fault; and what is restored equals the source, fault and all.
func TestSourceFaults(t *testing.T) {
	for name, source := range faultySources {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := systemtest.Config(t)
			another(t, cfg.Path, "CREATE TABLE other(a); INSERT INTO other VALUES(1);"+source.script)
			var warned []string
			cfg.OnEvent = func(e driftdb.Event) {
				if e.Kind == driftdb.EventFaultsFound {
					warned, _ = e.Attrs["faults"].([]string)
				}
			}
			db, err := driftdb.Open(t.Context(), cfg)
			systemtest.Check(t, err)
			defer db.Close()
			systemtest.Check(t, db.Flush(t.Context()))
			sameFaults(t, "Metrics", db.Metrics().Faults, source.faults)
			sameFaults(t, "event", warned, source.faults)
			sameFaults(t, "Restore", restoresEqual(t, cfg), source.faults)
			info := systemtest.Backup(t, cfg)
			sameFaults(t, "bucket", info.Snapshots[len(info.Snapshots)-1].Faults, source.faults)
			warned = nil
			for _, query := range append([]string{"INSERT INTO other VALUES(2)"}, source.write...) {
				systemtest.Exec(t, db, query)
			}
			systemtest.Check(t, db.Flush(t.Context()))
			restoresEqual(t, cfg)
			_, err = db.Snapshot(t.Context())
			systemtest.Check(t, err)
			restoresEqual(t, cfg)
			if len(source.write) == 0 && warned != nil {
				t.Errorf("told again: %q", warned)
			}
		})
	}
}

// another runs a script as another program does.
func another(t *testing.T, path, script string) {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{KeepJournal: true})
	systemtest.Check(t, err)
	systemtest.Check(t, errors.Join(c.Exec(script), c.Close()))
}

func sameFaults(t *testing.T, who string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", who, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// restoresEqual restores what was flushed, and compares; what is wrong with the source has
// to be wrong with what is restored. It returns what the restore told of that.
func restoresEqual(t *testing.T, cfg driftdb.Config) []string {
	t.Helper()
	rc := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: filepath.Join(t.TempDir(), "restored.sqlite")}
	res, err := driftdb.Restore(t.Context(), rc)
	systemtest.Check(t, err)
	source, err := dbtest.Dump(cfg.Path)
	systemtest.Check(t, err)
	restored, err := dbtest.Dump(rc.Path)
	systemtest.Check(t, err)
	if source != restored {
		t.Errorf("the restored database differs:\n%s", dbtest.Diff(source, restored))
	}
	v, err := driftdb.Verify(t.Context(), rc)
	systemtest.Check(t, err)
	sameFaults(t, "Verify", v.Faults, res.Faults)
	return res.Faults
}

// TestAdoptDamaged adopts a database of which a page is lost. It has no other backup, so
// that is stored as it is, and told; what is restored is the same file. Damage that
// comes later is not stored on top of it.
func TestAdoptDamaged(t *testing.T) {
	const fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO %s SELECT i, hex(zeroblob(100)) FROM n;"
	cfg := systemtest.Config(t)
	another(t, cfg.Path, "CREATE TABLE other(id INTEGER PRIMARY KEY, v); CREATE TABLE t(id INTEGER PRIMARY KEY, v);"+fmt.Sprintf(fill, "other")+fmt.Sprintf(fill, "t"))
	lose(t, cfg.Path, leaf(t, cfg.Path, "t"))
	db, err := driftdb.Open(t.Context(), cfg)
	systemtest.Check(t, err)
	systemtest.Check(t, db.Flush(t.Context()))
	faults := db.Metrics().Faults
	if len(faults) == 0 || !strings.HasPrefix(faults[0], `table "t": damaged: `) {
		t.Errorf("faults %q", faults)
	}
	systemtest.Exec(t, db, "INSERT INTO other(v) VALUES(1)")
	systemtest.Check(t, db.Flush(t.Context()))
	sameFaults(t, "Restore", restoresEqual(t, cfg), faults)
	_, err = db.Snapshot(t.Context())
	systemtest.Check(t, err)
	sameFaults(t, "Restore", restoresEqual(t, cfg), faults)
	systemtest.Check(t, db.Close())

	lose(t, cfg.Path, leaf(t, cfg.Path, "other"))
	db, err = driftdb.Open(t.Context(), cfg)
	systemtest.Check(t, err)
	defer db.Close()
	if _, err := db.Snapshot(t.Context()); !errors.Is(err, driftdb.ErrCorrupt) || !strings.Contains(err.Error(), `table "other": damaged`) || strings.Contains(err.Error(), `"t"`) {
		t.Errorf("a snapshot with more damage: %v", err)
	}
	if b := systemtest.Backup(t, cfg); len(b.Snapshots) != 2 {
		t.Errorf("the backup has the snapshots %+v", b.Snapshots)
	}
}

// leaf is the last page of a table.
func leaf(t *testing.T, path, table string) (page int64) {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{KeepJournal: true})
	systemtest.Check(t, err)
	page, err = c.Int("SELECT max(pageno) FROM dbstat WHERE pagetype = 'leaf' AND name = '" + table + "'")
	systemtest.Check(t, errors.Join(err, c.Close()))
	return page
}

// lose overwrites a page of a closed database with nothing.
func lose(t *testing.T, path string, page int64) {
	t.Helper()
	const size = 4096
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	systemtest.Check(t, err)
	_, err = f.WriteAt(make([]byte, size), (page-1)*size)
	systemtest.Check(t, errors.Join(err, f.Close()))
}

// TestLaterFaults: the program brings a fault about after the last snapshot. The log has
// it, and so has what is restored from it.
func TestLaterFaults(t *testing.T) {
	for name, c := range map[string]struct{ before, then, fault string }{
		"a search index loses its pages":  {"CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f SELECT hex(randomblob(3000)) FROM (VALUES(1), (2), (3))", "DELETE FROM f_data WHERE id > 10", `table "f": fts5: corruption found`},
		"a search index loses its text":   {"CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('one two')", "DELETE FROM f_content", `table "f": malformed inverted index`},
		"an R-tree loses its rows":        {"CREATE VIRTUAL TABLE r USING rtree(id, a, b); INSERT INTO r VALUES(1, 1, 1)", "DELETE FROM r_rowid", `table "r": Mapping (1 -> 1) missing`},
		"an R-tree that SQLite calls odd": {"CREATE TABLE t(a)", "CREATE VIRTUAL TABLE r USING rtree(i0, x0, CONSTRAINT x2)", `table "r": Schema corrupt`},
		"a CHECK that was ignored":        {"CREATE TABLE t(a CHECK (a > 0))", "PRAGMA ignore_check_constraints=ON; INSERT INTO t VALUES(-1)", `table "t": CHECK constraint failed`},
		"a parent that is gone":           {"CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE t(a REFERENCES p); INSERT INTO p VALUES(1); INSERT INTO t VALUES(1)", "PRAGMA foreign_keys=OFF; DELETE FROM p; PRAGMA foreign_keys=ON", `table "t": rows refer to a missing row`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := systemtest.Config(t)
			db, err := driftdb.Open(t.Context(), cfg)
			systemtest.Check(t, err)
			defer db.Close()
			systemtest.Exec(t, db, c.before)
			_, err = db.Snapshot(t.Context())
			systemtest.Check(t, err)
			conn, err := db.SQL().Conn(t.Context())
			systemtest.Check(t, err)
			_, err = conn.ExecContext(t.Context(), c.then)
			systemtest.Check(t, errors.Join(err, conn.Close()))
			systemtest.Check(t, db.Flush(t.Context()))
			if b := systemtest.Backup(t, cfg); len(b.Snapshots) != 1 {
				t.Fatalf("%d snapshots", len(b.Snapshots))
			}
			if faults := restoresEqual(t, cfg); len(faults) == 0 || !strings.HasPrefix(faults[0], c.fault) {
				t.Errorf("faults %q", faults)
			}
		})
	}
}
