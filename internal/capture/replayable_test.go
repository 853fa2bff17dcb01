package capture_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// TestReplayable: kinds of keys, widths and statements whose replay needs care.
func TestReplayable(t *testing.T) {
	wide := make([]string, 2000)
	for i := range wide {
		wide[i] = fmt.Sprintf("c%d", i)
	}
	list, ones := strings.Join(wide, ","), strings.Join(slices.Repeat([]string{"1"}, 2000), ",")
	for _, sc := range []scenario{
		{name: "a key's own collation", f: func(e *env) {
			e.x("CREATE TABLE t(a TEXT COLLATE NOCASE, v, PRIMARY KEY(a COLLATE BINARY)) WITHOUT ROWID")
			e.x("INSERT INTO t VALUES('a',1),('A',2)")
			e.x("UPDATE t SET v=3 WHERE a='a' COLLATE BINARY")
			e.x("DELETE FROM t WHERE a='A' COLLATE BINARY")
		}},
		{name: "a key that takes more as equal than its column", f: func(e *env) {
			e.x("CREATE TABLE t(a TEXT, v, PRIMARY KEY(a COLLATE NOCASE DESC)) WITHOUT ROWID")
			e.x("INSERT INTO t VALUES('a',1),('b',2)")
			e.x("UPDATE t SET a=upper(a)")
			e.x("INSERT OR REPLACE INTO t VALUES('a',5)")
			e.x("UPDATE t SET v=7")
		}},
		{name: "a column twice in the key", f: func(e *env) {
			e.x("CREATE TABLE t(a, b, v, PRIMARY KEY(a COLLATE NOCASE, a COLLATE BINARY, b)) WITHOUT ROWID")
			e.x("INSERT INTO t VALUES('a',1,1),('A',1,2),('a',2,3)")
			e.x("UPDATE t SET v=v+10 WHERE a='A' AND b=1")
			e.x("DELETE FROM t WHERE a='a' AND b=2")
		}},
		{name: "a key of 2000 columns", f: func(e *env) {
			e.x("CREATE TABLE t(" + list + ", PRIMARY KEY(" + list + ")) WITHOUT ROWID")
			e.x("INSERT INTO t VALUES(" + ones + ")")
			e.x("UPDATE t SET c7=2")
			e.x("DELETE FROM t")
			e.x("INSERT INTO t VALUES(" + ones + ")")
		}},
		{name: "NULLs in a key", f: func(e *env) {
			e.x("CREATE TABLE t(a TEXT PRIMARY KEY, v)")
			e.x("INSERT INTO t VALUES(NULL,1),(NULL,2),('x',3)")
			e.x("UPDATE t SET v=9 WHERE v=2")
			e.x("DELETE FROM t WHERE v=1")
		}},
		{name: "writable_schema", barrier: "writable_schema", f: func(e *env) {
			e.x("CREATE TABLE t(a,b)")
			e.x("CREATE VIEW v AS SELECT nope FROM t")
			e.x("PRAGMA writable_schema=ON")
			e.x("ALTER TABLE t RENAME COLUMN a TO aa")
			e.x("PRAGMA writable_schema=OFF")
			e.x("INSERT INTO t VALUES(3,4)")
		}},
		{name: "our own module", f: func(e *env) {
			for _, q := range []string{
				"CREATE VIRTUAL TABLE x USING driftdb_capture(1, 0)",
				"CREATE VIRTUAL TABLE IF NOT EXISTS main.x USING \"DriftDB_Capture\"(1, 0)",
			} {
				if err := e.fail(q); !strings.Contains(err.Error(), "driftdb_") {
					e.Error(err)
				}
			}
		}},
	} {
		t.Run(sc.name, func(t *testing.T) { runScenario(t, sc) })
	}
}

// TestMovedWideRow: the rowid beside nearly as many columns as a statement may read.
func TestMovedWideRow(t *testing.T) {
	var columns []string
	for i := range 1999 {
		columns = append(columns, fmt.Sprintf("c%d", i))
	}
	s := newSource(t, 0)
	c := s.conn(t)
	for _, q := range []string{
		"CREATE TABLE t(" + strings.Join(columns, ",") + ")",
		"INSERT INTO t(c3) VALUES(1),(2)",
		"UPDATE t SET rowid=rowid+10, c1998='x'",
		"DELETE FROM t WHERE rowid=11",
	} {
		if _, err := c.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	path, _, err := s.replay(t)
	if err != nil {
		t.Fatal(err)
	}
	r, err := new(sqlite.Driver).Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := r.Int("SELECT count(*) FROM t WHERE rowid=12 AND c3=2 AND c1998='x'"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
}

// TestSchemaText: sqlite_schema has the same text after a replay, byte for byte.
func TestSchemaText(t *testing.T) {
	for _, script := range []string{
		"CREATE TABLE t(a)|CREATE INDEX i ON t(a) -- ;|CREATE INDEX j ON t(a) ",
		"/* c */ CREATE /* d */ TABLE t(a -- x\n, b /* y */) /* z */ ; -- w",
		"CREATE TABLE t(a)\t\n; ;|CREATE INDEX i ON t(a)\n\t;|CREATE INDEX k ON t(a) /* ; */ ; ",
		"CREATE TABLE [t t](\"a\"\"b\" 'text', `c` x)|ALTER TABLE [t t] ADD COLUMN d -- e|ALTER TABLE [t t] RENAME COLUMN `c` TO 'f g' ;",
		"CREATE TABLE t(a)|CREATE VIEW v AS SELECT a FROM t -- v;|CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; /* ; */ END -- r ;",
		"CREATE TABLE t(a)|ALTER TABLE t RENAME TO u -- ;|CREATE UNIQUE INDEX i ON u(a)-- x\n;-- y",
		"CREATE TABLE IF NOT EXISTS main . t(a) WITHOUT ROWID --",
		"CREATE TABLE t(a) --\x0c;\r\n|CREATE INDEX i ON t(a) \r\n -- é;\r\n",
	} {
		s := newSource(t, 0)
		c := s.conn(t)
		for _, q := range strings.Split(script, "|") {
			_, _ = c.ExecContext(t.Context(), q) // what SQLite refuses leaves nothing to compare
		}
		c.Close()
		path, _, err := s.replay(t)
		if err != nil {
			t.Fatalf("%q: %v", script, err)
		}
		if got, want := schemaText(t, path), schemaText(t, s.path); got != want {
			t.Errorf("%q:\n%q\nwant\n%q", script, got, want)
		}
	}
}

func schemaText(t *testing.T, path string) (text string) {
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Each(`SELECT name || char(10) || sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name NOT LIKE '\_driftdb%' ESCAPE '\' ORDER BY name`, func(st *sqlite.Stmt) error {
		text += st.Text(0) + "\n"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return text
}

// BenchmarkNewShape is what a table costs whose like has not been seen: it is
// proven; the row that is inserted is the smaller part of it.
func BenchmarkNewShape(b *testing.B) {
	for _, alike := range []bool{true, false} {
		b.Run(fmt.Sprintf("alike=%v", alike), func(b *testing.B) {
			s := newSource(b, 0)
			c := s.conn(b)
			n := 0
			for b.Loop() {
				n++
				size := 1
				if !alike {
					size = n
				}
				if _, err := c.ExecContext(b.Context(), fmt.Sprintf("CREATE TABLE t%d(a VARCHAR(%d) PRIMARY KEY, b, c INT)", n, size)); err != nil {
					b.Fatal(err)
				}
				if _, err := c.ExecContext(b.Context(), fmt.Sprintf("INSERT INTO t%d VALUES('a', 1, 2)", n)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
