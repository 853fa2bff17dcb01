package file_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestStories: statements whose effect was once lost on the way to the bucket. What is
// restored is compared with the file when each ends.
func TestStories(t *testing.T) {
	for name, statements := range map[string][]string{
		"columns come to hide the rowid": {
			"CREATE TABLE t(a)", "INSERT INTO t VALUES(1), (2)",
			"ALTER TABLE t ADD COLUMN rowid", "ALTER TABLE t ADD COLUMN oid", "ALTER TABLE t ADD COLUMN _rowid_",
		},
		"columns come to hide the rowid, in quotes and capitals": {
			"CREATE TABLE t(a)", "INSERT INTO t VALUES(1), (2)", `ALTER TABLE t ADD "RowID" TEXT`, "UPDATE t SET a = 3 WHERE a = 1",
			"ALTER TABLE t ADD [_ROWID_]", "INSERT INTO t(a) VALUES(4)", "ALTER TABLE t ADD `oid`", "DELETE FROM t WHERE a = 2", "INSERT INTO t(a) VALUES(5)",
		},
		"columns hide the rowid from the beginning": {
			"CREATE TABLE t(rowid, oid, _rowid_)", "INSERT INTO t VALUES(1, 2, 3), (1, 2, 3)", "UPDATE t SET oid = 5",
		},
		"columns hide the rowid of a key": {
			"CREATE TABLE t(rowid INTEGER PRIMARY KEY, oid, _rowid_)", "INSERT INTO t VALUES(1, 2, 3), (2, 2, 3)", "UPDATE t SET rowid = 9 WHERE rowid = 1",
			"CREATE TABLE w(rowid TEXT, oid, _rowid_, PRIMARY KEY(oid)) WITHOUT ROWID", "INSERT INTO w VALUES(1, 2, 3), (2, 3, 3)", "DELETE FROM w WHERE oid = 2",
		},
		"a column is renamed to the rowid's last name": {
			"CREATE TABLE t(rowid, oid, c)", "INSERT INTO t VALUES(1, 2, 3), (1, 2, 3)", "ALTER TABLE t RENAME COLUMN c TO _rowid_", "INSERT INTO t VALUES(7, 8, 9)",
		},
		"statistics, twice": {
			"CREATE TABLE t(a PRIMARY KEY, b)", "CREATE INDEX i ON t(b)", "INSERT INTO t VALUES(1, 1)", "ANALYZE",
			"WITH c(x) AS (SELECT 10 UNION ALL SELECT x + 1 FROM c WHERE x < 3000) INSERT INTO t SELECT x, x % 5 FROM c", "ANALYZE",
		},
		"statistics that depend on the connection": {
			"CREATE TABLE t(a PRIMARY KEY, b)", "CREATE INDEX i ON t(b)",
			"WITH c(x) AS (SELECT 10 UNION ALL SELECT x + 1 FROM c WHERE x < 3000) INSERT INTO t SELECT x, x % 5 FROM c",
			"PRAGMA analysis_limit=100; ANALYZE i; SELECT * FROM t WHERE b = 3; PRAGMA optimize=0x10002",
		},
		"statistics that are edited": {
			"CREATE TABLE t(a PRIMARY KEY, b)", "CREATE INDEX i ON t(b)", "INSERT INTO t VALUES(1, 1), (2, 2)", "ANALYZE",
			"UPDATE sqlite_stat1 SET stat = '1000000 10' WHERE idx = 'i'", "DELETE FROM sqlite_stat4 WHERE idx = 'i'",
			"INSERT INTO sqlite_stat4(tbl, idx, neq, nlt, ndlt, sample) VALUES('t', 'i', '1', '1', '1', x'00')", "ANALYZE sqlite_schema", "DROP INDEX i", "ANALYZE", "DROP TABLE t",
		},
		"statistics in a transaction": {
			"CREATE TABLE t(a PRIMARY KEY, b)", "BEGIN; INSERT INTO t VALUES(1, 1); ANALYZE; SAVEPOINT s; INSERT INTO t VALUES(2, 2); ANALYZE; ROLLBACK TO s; INSERT INTO t VALUES(3, 3); COMMIT",
			"BEGIN; DELETE FROM sqlite_stat1; ROLLBACK", "BEGIN; ANALYZE; DELETE FROM t; ANALYZE; COMMIT",
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := systemtest.Open(t, systemtest.Config(t)) // compares at the end
			for _, s := range statements {
				if _, err := db.SQL().ExecContext(t.Context(), s); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
			}
		})
	}
}

// TestEmptyWithSettings: a file that has no tables yet, but settings of its own, keeps
// them on its way through the bucket.
func TestEmptyWithSettings(t *testing.T) {
	settings := []string{"page_size", "auto_vacuum", "application_id", "user_version", "encoding"}
	for _, set := range []string{
		"PRAGMA page_size=8192", "PRAGMA auto_vacuum=incremental", "PRAGMA application_id=1234", "PRAGMA user_version=77",
		"PRAGMA page_size=512; PRAGMA auto_vacuum=full; PRAGMA application_id=-1; PRAGMA user_version=-77",
	} {
		t.Run(set, func(t *testing.T) {
			cfg := systemtest.Config(t)
			script(t, cfg.Path, set+"; VACUUM")
			want := pragmas(t, cfg.Path, settings)
			db := systemtest.Open(t, cfg) // compares at the end
			systemtest.Exec(t, db, "CREATE TABLE t(a); INSERT INTO t VALUES(1)")
			systemtest.Check(t, db.Flush(t.Context()))
			path := filepath.Join(t.TempDir(), "restored.sqlite")
			_, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: path})
			systemtest.Check(t, err)
			if got := pragmas(t, path, settings); got != want {
				t.Errorf("restored: %s, want %s", got, want)
			}
		})
	}
}

// script runs statements on a database that DriftDB does not have open.
func script(t *testing.T, path, statements string) {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{KeepJournal: true})
	systemtest.Check(t, err)
	systemtest.Check(t, errors.Join(c.Exec(statements), c.Close()))
}

func pragmas(t *testing.T, path string, names []string) (values string) {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{KeepJournal: true})
	systemtest.Check(t, err)
	defer c.Close()
	for _, name := range names {
		v, err := c.Text("PRAGMA " + name)
		systemtest.Check(t, err)
		values += name + "=" + v + " "
	}
	return values
}

// TestPages: pages that are written past the tables are a barrier, and those that are
// written without any change of data are none.
func TestPages(t *testing.T) {
	const write = "UPDATE sqlite_dbpage SET data = unhex(replace(hex(data), '41414141', '42424242')) WHERE pgno = (SELECT rootpage FROM sqlite_schema WHERE name = 't')"
	for name, test := range map[string]struct {
		statements []string
		barriers   int64
	}{
		"alone":                          {[]string{write}, 1},
		"with rows":                      {[]string{"BEGIN; INSERT INTO t VALUES('x'); " + write + "; COMMIT"}, 1},
		"rolled back":                    {[]string{"BEGIN; " + write + "; ROLLBACK"}, 0},
		"read only":                      {[]string{"SELECT count(*) FROM sqlite_dbpage"}, 0},
		"nothing":                        {[]string{"BEGIN IMMEDIATE; COMMIT", "DELETE FROM t WHERE 0", "CREATE TEMP TABLE x(a); INSERT INTO x VALUES(1)"}, 0},
		"a counter":                      {[]string{"CREATE TABLE c(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO c(a) VALUES(1)", "INSERT OR IGNORE INTO c(a) VALUES(1)"}, 0},
		"pages that are given back":      {[]string{"DELETE FROM t", "PRAGMA incremental_vacuum"}, 0},
		"a mode that is what it was":     {[]string{"PRAGMA journal_mode=WAL", "PRAGMA wal_checkpoint(TRUNCATE)", "INSERT INTO t VALUES('x')"}, 0},
		"a statement that has no effect": {[]string{"CREATE UNIQUE INDEX u ON t(a)", "INSERT OR IGNORE INTO t VALUES('AAAA')", "UPDATE OR IGNORE t SET a = 'AAAA' WHERE a > 'B'"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := systemtest.Config(t)
			script(t, cfg.Path, "PRAGMA auto_vacuum=incremental; CREATE TABLE other(a)")
			db := systemtest.Open(t, cfg) // compares at the end
			systemtest.Exec(t, db, "CREATE TABLE t(a)")
			systemtest.Exec(t, db, "INSERT INTO t VALUES('AAAA'), ('x' || hex(zeroblob(9000)))")
			systemtest.Check(t, db.Flush(t.Context()))
			before := db.Metrics().Barriers
			for _, s := range test.statements {
				if _, err := db.SQL().ExecContext(t.Context(), s); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
			}
			if n := db.Metrics().Barriers - before; n != test.barriers {
				t.Errorf("%d barriers, want %d", n, test.barriers)
			}
		})
	}
}

// TestSnapshotForgets: what was deleted is not in a snapshot, though its pages are.
func TestSnapshotForgets(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.Compression = driftdb.CompressionNone
	db := systemtest.Open(t, cfg) // compares at the end
	systemtest.Exec(t, db, "CREATE TABLE kept(a); CREATE TABLE gone(a); INSERT INTO kept VALUES('to be kept')")
	for range 100 {
		systemtest.Exec(t, db, "INSERT INTO gone VALUES('secret' || hex(zeroblob(2000)))")
	}
	systemtest.Exec(t, db, "DROP TABLE gone")
	s, err := db.Snapshot(t.Context())
	systemtest.Check(t, err)
	body, _, err := cfg.Store.Get(t.Context(), s.Key, objstore.GetOptions{})
	systemtest.Check(t, err)
	data, err := io.ReadAll(body)
	systemtest.Check(t, errors.Join(err, body.Close()))
	if !bytes.Contains(data, []byte("to be kept")) || bytes.Contains(data, []byte("secret")) {
		t.Errorf("of %d bytes: kept %v, deleted %v", len(data), bytes.Contains(data, []byte("to be kept")), bytes.Contains(data, []byte("secret")))
	}
}

// TestCascade: a migration that turns foreign keys off where that has no effect is told
// which rows it has lost by that.
func TestCascade(t *testing.T) {
	for name, test := range map[string]struct {
		statements []string
		told       bool
	}{
		"within the transaction": {[]string{"BEGIN; PRAGMA foreign_keys=OFF; CREATE TABLE new(id INTEGER PRIMARY KEY); INSERT INTO new SELECT id FROM parent; DROP TABLE parent; ALTER TABLE new RENAME TO parent; COMMIT"}, true},
		"before it":              {[]string{"PRAGMA foreign_keys=OFF; BEGIN; DROP TABLE parent; COMMIT; PRAGMA foreign_keys=ON"}, false},
		"rolled back":            {[]string{"BEGIN; PRAGMA foreign_keys = 0; DELETE FROM parent; ROLLBACK"}, false},
		"in another transaction": {[]string{"BEGIN; PRAGMA foreign_keys(no); COMMIT", "DELETE FROM parent"}, false},
		"turned on":              {[]string{"BEGIN; PRAGMA foreign_keys=ON; DELETE FROM parent; COMMIT"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := systemtest.Config(t)
			told := systemtest.Listen(&cfg)
			db := systemtest.Open(t, cfg) // compares at the end
			systemtest.Exec(t, db, "CREATE TABLE parent(id INTEGER PRIMARY KEY); CREATE TABLE child(id REFERENCES parent ON DELETE CASCADE)")
			systemtest.Exec(t, db, "INSERT INTO parent VALUES(1), (2); INSERT INTO child VALUES(1), (2)")
			conn, err := db.SQL().Conn(t.Context())
			systemtest.Check(t, err)
			for _, s := range append(test.statements, "VACUUM") { // which is told, too
				_, err := conn.ExecContext(t.Context(), s)
				systemtest.Check(t, err)
			}
			systemtest.Check(t, conn.Close())
			told.Wait(t, driftdb.EventBarrier)
			if db.Metrics().Barriers != 1 {
				t.Errorf("%d barriers", db.Metrics().Barriers)
			}
			systemtest.Check(t, db.Close())
			told.Mu.Lock()
			defer told.Mu.Unlock()
			cascade := slices.ContainsFunc(told.List, func(e driftdb.Event) bool {
				return e.Kind == driftdb.EventForeignKeysOn && e.Attrs["table"] == "child"
			})
			if cascade != test.told {
				t.Errorf("told: %v, want %v", cascade, test.told)
			}
		})
	}
}

// TestFullTextMistake: a statement that tells a full-text index to forget what it does
// not have is the statement's error, not a damaged file's.
func TestFullTextMistake(t *testing.T) {
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Exec(t, db, "CREATE TABLE doc(a); CREATE VIRTUAL TABLE ft USING fts5(a, content='doc')")
	systemtest.Exec(t, db, "INSERT INTO doc VALUES('one two'); INSERT INTO ft(rowid, a) VALUES(1, 'one two')")
	err := db.Tx(t.Context(), func(tx *driftdb.Tx) error {
		const forget = "INSERT INTO ft(ft, rowid, a) VALUES('delete', 1, 'one')"
		_, err := tx.Exec(t.Context(), forget+"; "+forget)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "(267)") || errors.Is(err, driftdb.ErrCorrupt) {
		t.Errorf("%v", err)
	}
}
