package dbtest_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

const sample = `
CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a, r REAL);
INSERT INTO t(a, r) VALUES(1, 1), ('1', 0.5), (x'31', NULL);
CREATE TABLE k(a TEXT COLLATE NOCASE PRIMARY KEY, b) WITHOUT ROWID;
INSERT INTO k VALUES('x', 1), ('Y', 2);
CREATE VIRTUAL TABLE f USING fts5(a);
INSERT INTO f VALUES('one two'), ('two three two'), ('');
CREATE VIRTUAL TABLE e USING fts5(a, content='t', content_rowid='id');
CREATE VIRTUAL TABLE n USING fts5(a, content='');
INSERT INTO n(rowid, a) VALUES(5, 'seven "eight"');
CREATE VIRTUAL TABLE r USING rtree(id, x0, x1, +note);
INSERT INTO r VALUES(1, -2, -1, 'left'), (2, 1, 2, 'right');
`

// newDatabase runs scripts on a new file.
func newDatabase(t *testing.T, scripts ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.sqlite")
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{Synchronous: sqlite.SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, s := range scripts {
		if err := c.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return path
}

// TestCompare: whatever differs is noticed, and what both lack is not.
func TestCompare(t *testing.T) {
	source := newDatabase(t, sample)
	if err := dbtest.Compare(source, newDatabase(t, sample)); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{
		"UPDATE t SET a = '1' WHERE id = 1",
		"UPDATE t SET id = 9 WHERE id = 3",
		"UPDATE sqlite_sequence SET seq = 9",
		"UPDATE k SET a = 'X' WHERE a = 'x'",
		"CREATE INDEX i ON t(a)",
		"PRAGMA user_version = 1",
		"INSERT INTO e(rowid, a) VALUES(1, 'one')",
		"INSERT INTO n(rowid, a) VALUES(6, 'more')",
		"INSERT INTO f(f, rank) VALUES('rank', 'bm25(2.0)')",
		"UPDATE r SET note = 'x' WHERE id = 1",
		"UPDATE r SET x0 = -3 WHERE id = 1",
	} {
		if err := dbtest.Compare(source, newDatabase(t, sample, other)); err == nil {
			t.Errorf("%s: not noticed", other)
		}
	}
}

// TestDamage: what is wrong on both sides is still wrong.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]string{
		"row without index entry": "PRAGMA writable_schema = ON; CREATE INDEX i ON t(a); UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t(r)' WHERE name = 'i'",
		"full text index":         "DELETE FROM f_data WHERE id > 10",
		"full text without row":   "DELETE FROM f_content WHERE id = 1",
		"R-Tree":                  "DELETE FROM r_rowid WHERE rowid = 2",
		"check":                   "CREATE TABLE c(a CHECK(a > 0)); PRAGMA ignore_check_constraints = ON; INSERT INTO c VALUES(-1)",
	} {
		err := dbtest.Compare(newDatabase(t, sample, damage), newDatabase(t, sample, damage))
		if err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnknown: a collation and a tokenizer that only the program has are no
// difference.
func TestUnknown(t *testing.T) {
	const unknown = `PRAGMA writable_schema = ON;
		UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'klingon') WHERE name = 'k';
		UPDATE sqlite_schema SET sql = replace(sql, 'fts5(a)', 'fts5(a, tokenize=klingon)') WHERE name = 'f'`
	if err := dbtest.Compare(newDatabase(t, sample, unknown), newDatabase(t, sample, unknown)); err != nil {
		t.Error(err)
	}
	if err := dbtest.Compare(newDatabase(t, sample, unknown), newDatabase(t, sample, "INSERT INTO t(a) VALUES(3)", unknown)); err == nil {
		t.Error("a row more was not noticed")
	}
}
