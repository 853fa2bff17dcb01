package check_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/check"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// open opens a new database that script has made.
func open(t *testing.T, script string) *sqlite.Conn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{Synchronous: sqlite.SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(script); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c, err = new(sqlite.Driver).Open(path, sqlite.Options{QueryOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// another opens the database of c once more.
func another(t *testing.T, c *sqlite.Conn) func() (*sqlite.Conn, error) {
	t.Helper()
	path, err := c.Text("SELECT file FROM pragma_database_list WHERE name = 'main'")
	if err != nil {
		t.Fatal(err)
	}
	return func() (*sqlite.Conn, error) {
		return new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true, QueryOnly: true})
	}
}

const schema = "PRAGMA writable_schema=ON; "

// TestFaults: each kind of fault is told, once and in the same words, and hides
// nothing of other tables.
func TestFaults(t *testing.T) {
	const other = "CREATE TABLE other(a); INSERT INTO other VALUES(1), (2);"
	for name, c := range map[string]struct {
		script string
		want   []string
	}{
		"whole":  {"CREATE TABLE t(a UNIQUE); CREATE VIRTUAL TABLE f USING fts5(x); CREATE VIRTUAL TABLE r USING rtree(id, a, b)", nil},
		"null":   {"CREATE TABLE t(a); INSERT INTO t VALUES(NULL), (NULL); " + schema + "UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a NOT NULL)' WHERE name = 't'", []string{`table "t": NULL value in t.a`}},
		"orphan": {"CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE t(a REFERENCES p); INSERT INTO t VALUES(1), (2)", []string{`table "t": rows refer to a missing row`}},
		"misfit": {"CREATE TABLE p(id); CREATE TABLE t(a REFERENCES p(id)); INSERT INTO t VALUES(1), (2)", []string{`table "t": foreign key mismatch - "t" referencing "p"`}},
		"missing": {"CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES(1), (2); CREATE TABLE hide AS SELECT * FROM sqlite_schema WHERE name = 'i';" + schema +
			"DELETE FROM sqlite_schema WHERE name = 'i'; PRAGMA writable_schema=RESET; INSERT INTO t VALUES(3), (4); " + schema +
			"INSERT INTO sqlite_schema SELECT * FROM hide; PRAGMA writable_schema=RESET; DROP TABLE hide",
			[]string{`table "t": row missing from index i`, `table "t": wrong # of entries in index i`}},
		"fts":        {"CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('one two'); DELETE FROM f_content", []string{`table "f": malformed inverted index for FTS5 table main.f`}},
		"fts data":   {"CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f SELECT hex(randomblob(3000)) FROM (VALUES(1), (2), (3)); DELETE FROM f_data WHERE id > 10", []string{`table "f": fts5: corruption found reading blob 137438953473 from table "f"`}},
		"rtree":      {"CREATE VIRTUAL TABLE r USING rtree(i0, x0, CONSTRAINT x2)", []string{`table "r": Schema corrupt or not an rtree`}},
		"rtree node": {"CREATE VIRTUAL TABLE r USING rtree(id, a, b); INSERT INTO r VALUES(1, 1, 1); DELETE FROM r_rowid", []string{`table "r": Mapping (1 -> 1) missing from %_rowid table`, `table "r": Wrong number of entries in %_rowid table - expected 1, actual 0`}},
		"module":     {schema + "INSERT INTO sqlite_schema VALUES('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING nope(x)')", []string{`table "v": it needs what this program lacks: no such module: nope`}},
		"collation of a column": {"CREATE TABLE t(a TEXT); CREATE INDEX i ON t(a); INSERT INTO t VALUES('x'); " + schema +
			"UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a TEXT COLLATE nope)' WHERE name = 't'", []string{`table "t": it needs what this program lacks: no such collation sequence: nope`}},
		"key's collation": {"CREATE TABLE t(a TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO t VALUES('x'); " + schema +
			"UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a TEXT COLLATE nope PRIMARY KEY) WITHOUT ROWID' WHERE name = 't'", []string{`table "t": it needs what this program lacks: no such collation sequence: nope`}},
		"stray": {`CREATE TABLE "t""" (a UNIQUE, b, PRIMARY KEY(a, b)); CREATE TABLE u(a, b TEXT UNIQUE);` + schema + "UPDATE sqlite_schema SET tbl_name = 'other' WHERE name IN ('sqlite_autoindex_t\"_2', 'sqlite_autoindex_u_1')",
			[]string{
				`table "sqlite_schema": damaged: index "sqlite_autoindex_t""_2" does not belong to table "other"`,
				`table "sqlite_schema": damaged: index "sqlite_autoindex_u_1" does not belong to table "other"`,
			}},
		"tokenizer": {"CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('one two'); " + schema +
			"UPDATE sqlite_schema SET sql = 'CREATE VIRTUAL TABLE f USING fts5(x, tokenize=nope)' WHERE name = 'f'", []string{`table "f": it needs what this program lacks: no such tokenizer: nope`}},
	} {
		t.Run(name, func(t *testing.T) {
			conn := open(t, other+c.script)
			for _, o := range []check.Options{{}, {Budget: 1 << 40}, {Open: another(t, conn)}} {
				r, err := check.Run(t.Context(), conn, o)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, f := range r.Faults {
					got = append(got, f.String())
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("faults:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
				}
				if _, ok := r.Digests["other"]; !ok || r.Rows < 2 || r.Whole != (o.Budget == 0) {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// TestSlices: checks with hardly any time come to all tables one after the other, and
// know together what a check of all tables at once knows. What is known of a table stays
// known until it is checked again, or is gone.
func TestSlices(t *testing.T) {
	const null = "INSERT INTO %[1]s VALUES(NULL); PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE %[1]s(a NOT NULL)' WHERE name = '%[1]s'; PRAGMA writable_schema=RESET;"
	var script strings.Builder
	for _, name := range []string{"b", "d", "a", "c"} {
		fmt.Fprintf(&script, "CREATE TABLE %s(a);", name)
	}
	fmt.Fprintf(&script, null, "a")
	fmt.Fprintf(&script, null, "c")
	c := open(t, script.String())
	all, err := check.Run(t.Context(), c, check.Options{})
	if err != nil || !all.Whole || all.Through != "" {
		t.Fatalf("%+v, %v", all, err)
	}
	known, after, order := map[string][]string{"gone": {"x"}, "a": {"was mended"}}, "b", []string(nil)
	for range all.Checked {
		r, err := check.Run(t.Context(), c, check.Options{Budget: 1, After: after})
		if err != nil || len(r.Checked) != 1 || r.Whole || r.Through != r.Checked[0] || len(r.Digests) != 4 {
			t.Fatalf("%+v, %v", r, err)
		}
		known, after, order = r.Onto(known), r.Through, append(order, r.Through)
	}
	if want := []string{"c", "d", "sqlite_schema", "a", "b"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	if want := check.List(check.ByTable(all.Faults)); !slices.Equal(check.List(known), want) {
		t.Errorf("%q, want %q", check.List(known), want)
	}
}

// TestMany: a list of faults has a bound, and says how many others there are.
func TestMany(t *testing.T) {
	var faults []check.Fault
	for i := range check.MaxFaults + 7 {
		faults = append(faults, check.Fault{Kind: check.Index, Table: fmt.Sprintf("t%03d", i), What: "x"})
	}
	list := check.List(check.ByTable(faults))
	if len(list) != check.MaxFaults+1 || list[0] != "there are 7 other faults" || list[1] != `table "t000": x` {
		t.Errorf("%d: %q", len(list), list[:2])
	}
}

// TestInterrupted: a check whose context ends says so.
func TestInterrupted(t *testing.T) {
	c := open(t, "CREATE TABLE t(a); INSERT INTO t VALUES(1)")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	refuse := func() (*sqlite.Conn, error) { return nil, errRefused }
	if _, err := check.Run(t.Context(), c, check.Options{Open: refuse}); !errors.Is(err, errRefused) {
		t.Errorf("a connection that cannot be had: %v", err)
	}
	if _, err := check.Run(ctx, c, check.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestInterruptedBeside: so does one that is reading rows beside SQLite's checks.
func TestInterruptedBeside(t *testing.T) {
	c := open(t, "CREATE TABLE t(a UNIQUE); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT i FROM n")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := check.Run(ctx, c, check.Options{Open: another(t, c), Progress: func(int64, int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if r, err := check.Run(t.Context(), c, check.Options{Open: another(t, c)}); err != nil || r.Rows != 20000 {
		t.Errorf("the check after it: %d rows, %v", r.Rows, err)
	}
}

var errRefused = errors.New("refused")

// TestProgress: the rows of a check are told as they are read, to the last one.
func TestProgress(t *testing.T) {
	c := open(t, `CREATE TABLE t(a); CREATE TABLE u(a);
		INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT i FROM n; INSERT INTO u VALUES(1)`)
	var told []int64
	r, err := check.Run(t.Context(), c, check.Options{Open: another(t, c), Progress: func(done, total int64) {
		if total != 20001 {
			t.Errorf("%d of %d rows", done, total)
		}
		told = append(told, done)
	}})
	if err != nil || r.Rows != 20001 || len(told) < 4 || told[len(told)-1] != r.Rows || !slices.IsSorted(told) {
		t.Errorf("%d rows, progress %d, %v", r.Rows, told, err)
	}
}
