package model_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// resolveCases are what two machines may do to one database. ours and theirs are what
// query gives when that side is preferred; without conflicts, both.
var resolveCases = []struct {
	name, schema string
	a, b         string // what theirs and ours do
	conflicts    string // kinds and tables; if it is not the same for both sides, with a bar between them
	query        string
	ours, theirs string
}{
	{"equal changes", "CREATE TABLE t(k PRIMARY KEY, v); INSERT INTO t VALUES(1, 'x'), (2, 'y')",
		"UPDATE t SET v = 'z' WHERE k = 1; DELETE FROM t WHERE k = 2; INSERT INTO t VALUES(3, 'n')",
		"UPDATE t SET v = 'z' WHERE k = 1; DELETE FROM t WHERE k = 2; INSERT INTO t VALUES(3, 'n'); INSERT INTO t VALUES(4, 'own')",
		"", "SELECT group_concat(k || v, ' ' ORDER BY k) FROM t", "1z 3n 4own", ""},
	{"different columns of a row", "CREATE TABLE t(k PRIMARY KEY, v, w); INSERT INTO t VALUES(1, 'v', 'w')",
		"UPDATE t SET v = 'a'", "UPDATE t SET w = 'b'",
		"row t", "SELECT v || w FROM t", "vb", "aw"},
	{"delete and update", "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'v'), (2, 'w')",
		"UPDATE t SET v = 'a' WHERE k = 1; DELETE FROM t WHERE k = 2", "DELETE FROM t WHERE k = 1; UPDATE t SET v = 'b' WHERE k = 2",
		"row t, row t", "SELECT group_concat(k || v) FROM t", "2b", "1a"},
	{"a key that differs in case only", "CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY, v)",
		"INSERT INTO t VALUES('key', 'a')", "INSERT INTO t VALUES('KEY', 'b')",
		"key t", "SELECT k || v FROM t", "KEYb", "keya"},
	{"keys with NULL", "CREATE TABLE t(k TEXT PRIMARY KEY, v); INSERT INTO t VALUES(NULL, 'x')",
		"INSERT INTO t VALUES(NULL, 'a')", "INSERT INTO t VALUES(NULL, 'b'); UPDATE t SET v = 'changed' WHERE v = 'x'",
		"", "SELECT group_concat(v, ' ' ORDER BY v) FROM t WHERE k IS NULL", "a b changed", ""},
	{"values exchanged", "CREATE TABLE t(k INTEGER PRIMARY KEY, v UNIQUE); INSERT INTO t VALUES(1, 'x'), (2, 'y'), (3, 'z')",
		"UPDATE t SET v = 'Z' WHERE k = 3", "UPDATE t SET v = NULL WHERE k = 1; UPDATE t SET v = 'x' WHERE k = 2; UPDATE t SET v = 'y' WHERE k = 1",
		"", "SELECT group_concat(k || v, ' ' ORDER BY k) FROM t", "1y 2x 3Z", ""},
	{"a chain of unique values", "CREATE TABLE t(k INTEGER PRIMARY KEY, v UNIQUE); INSERT INTO t VALUES(1, 'a'), (2, 'b'), (3, 'z')",
		"UPDATE t SET v = 'x' WHERE k = 3", "UPDATE t SET v = 'x' WHERE k = 2; UPDATE t SET v = 'b' WHERE k = 1",
		"unique t|unique t, unique t", "SELECT group_concat(k || v, ' ' ORDER BY k) FROM t", "1b 2x 3z", "1a 2b 3x"},
	{"a child of a deleted parent", "CREATE TABLE p(k INTEGER PRIMARY KEY); CREATE TABLE c(k INTEGER PRIMARY KEY, p REFERENCES p); INSERT INTO p VALUES(1), (2)",
		"DELETE FROM p WHERE k = 1; INSERT INTO c VALUES(2, 2)", "INSERT INTO c VALUES(1, 1); DELETE FROM p WHERE k = 2",
		"foreign key c, foreign key c", "SELECT (SELECT group_concat(k) FROM p) || ' ' || (SELECT group_concat(k) FROM c)", "1 1", "2 2"},
	{"a cascade", "CREATE TABLE p(k INTEGER PRIMARY KEY, v); CREATE TABLE c(k INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE); INSERT INTO p VALUES(1, 1); INSERT INTO c VALUES(1, 1)",
		"INSERT INTO c VALUES(2, 1)", "DELETE FROM p",
		"foreign key c", "SELECT (SELECT count(*) FROM p) || ' ' || (SELECT count(*) FROM c)", "0 0", "1 1"},
	{"counters", "CREATE TABLE t(k INTEGER PRIMARY KEY AUTOINCREMENT, v); INSERT INTO t(v) VALUES('x')",
		"UPDATE t SET v = 'y'", "INSERT INTO t VALUES(70, 'gone'); DELETE FROM t WHERE k = 70",
		"", "SELECT seq FROM sqlite_sequence", "70", ""},
	{"a table without a key", "CREATE TABLE t(v); INSERT INTO t VALUES('x'), ('y')",
		"INSERT INTO t VALUES('a'); DELETE FROM t WHERE v = 'x'", "INSERT INTO t VALUES('b'); UPDATE t SET v = 'Y' WHERE v = 'y'",
		"", "SELECT group_concat(v, ' ' ORDER BY v) FROM t", "Y a b", ""},
	{"a key of two columns", "CREATE TABLE t(a, b, v, PRIMARY KEY(b, a)) WITHOUT ROWID; INSERT INTO t VALUES(1, x'00', 5), (1, x'01', 5.0)",
		"UPDATE t SET v = NULL WHERE b = x'00'", "UPDATE t SET v = 5 WHERE b = x'01'",
		"", "SELECT group_concat(coalesce(v, 'NULL') || typeof(v), ' ' ORDER BY b) FROM t", "NULLnull 5integer", ""},
	{"a generated column and a check", "CREATE TABLE t(k PRIMARY KEY, v CHECK(v > 0), g AS (v * 2) STORED); INSERT INTO t VALUES(1, 1), (2, 2)",
		"UPDATE t SET v = 10 WHERE k = 1", "UPDATE t SET v = 20 WHERE k = 2",
		"", "SELECT group_concat(g, ' ' ORDER BY k) FROM t", "20 40", ""},
	{"new tables on both sides", "CREATE TABLE t(k)",
		"CREATE TABLE a(k PRIMARY KEY); INSERT INTO a VALUES('a'); PRAGMA user_version = 3", "CREATE TABLE b(k PRIMARY KEY, v); CREATE INDEX bv ON b(v); INSERT INTO b VALUES('b', 1); CREATE VIEW s AS SELECT k FROM b",
		"", "SELECT (SELECT k FROM a) || (SELECT k FROM s) || (SELECT user_version FROM pragma_user_version)", "ab3", ""},
	{"the same migration on both", "CREATE TABLE t(k PRIMARY KEY, v); INSERT INTO t VALUES(1, 'x'), (2, 'y')",
		"ALTER TABLE t ADD COLUMN w DEFAULT 7; UPDATE t SET w = 8 WHERE k = 1; PRAGMA user_version = 2", "ALTER TABLE t ADD COLUMN w DEFAULT 7; UPDATE t SET v = 'Y' WHERE k = 2; PRAGMA user_version = 2",
		"", "SELECT group_concat(k || v || w, ' ' ORDER BY k) FROM t", "1x8 2Y7", ""},
	{"a table altered by one", "CREATE TABLE t(k PRIMARY KEY, v); INSERT INTO t VALUES(1, 'x'); CREATE INDEX tv ON t(v)",
		"CREATE TABLE other(k)", "ALTER TABLE t ADD COLUMN w DEFAULT 7; INSERT INTO t VALUES(2, 'y', 8)",
		"", "SELECT group_concat(k || v || w, ' ' ORDER BY k) FROM t INDEXED BY tv WHERE v > ''", "1x7 2y8", ""},
	{"a table altered by one and written by the other", "CREATE TABLE t(k PRIMARY KEY, v); INSERT INTO t VALUES(1, 'x')",
		"UPDATE t SET v = 'a'", "ALTER TABLE t ADD COLUMN w DEFAULT 7",
		"schema t", "SELECT group_concat(v) || (SELECT count(*) FROM pragma_table_info('t')) FROM t", "x3", "a2"},
	{"a table dropped by one and written by the other", "CREATE TABLE t(k PRIMARY KEY, v); INSERT INTO t VALUES(1, 'x')",
		"DROP TABLE t", "UPDATE t SET v = 'b'",
		"schema t", "SELECT count(*) FROM sqlite_schema WHERE name = 't'", "1", "0"},
	{"a unique index that the other's rows violate", "CREATE TABLE t(k PRIMARY KEY, v); INSERT INTO t VALUES(1, 'x')",
		"INSERT INTO t VALUES(2, 'x')", "CREATE UNIQUE INDEX tv ON t(v); CREATE INDEX tk ON t(k, v); INSERT INTO t VALUES(3, 'y')",
		"schema t", "SELECT group_concat(k || v, ' ' ORDER BY k) || (SELECT count(*) FROM pragma_index_list('t')) FROM t", "1x 3y3", "1x 2x 3y2"},
	{"settings", "CREATE TABLE t(k)", "PRAGMA user_version = 3", "PRAGMA user_version = 4; INSERT INTO t VALUES(1)",
		"schema ", "SELECT user_version FROM pragma_user_version", "4", "3"},
	{"a full-text index that one has changed", "CREATE VIRTUAL TABLE f USING fts5(v); INSERT INTO f VALUES('one'); CREATE TABLE t(k)",
		"INSERT INTO t VALUES(1)", "INSERT INTO f VALUES('two words')",
		"", "SELECT group_concat(v) || (SELECT count(*) FROM t) FROM f WHERE f MATCH 'words'", "two words1", ""},
	{"a full-text index that both have changed", "CREATE VIRTUAL TABLE f USING fts5(v); INSERT INTO f VALUES('one')",
		"INSERT INTO f VALUES('a')", "INSERT INTO f VALUES('b')",
		"schema f", "SELECT group_concat(v) FROM f WHERE f MATCH 'a OR b OR one'", "one,b", "one,a"},
	{"a new full-text index", "CREATE TABLE t(k)",
		"INSERT INTO t VALUES(1)", "CREATE VIRTUAL TABLE f USING fts5(v); INSERT INTO f VALUES('one'), ('two')",
		"", "SELECT group_concat(v) FROM f WHERE f MATCH 'two'", "two", ""},
	{"only what the log cannot say", "CREATE TABLE t(k PRIMARY KEY); INSERT INTO t VALUES(1)",
		"INSERT INTO t VALUES(2)", "VACUUM; INSERT INTO t VALUES(3); VACUUM",
		"", "SELECT group_concat(k, ' ' ORDER BY k) FROM t", "1 2 3", ""},
}

// TestResolveCases: each by itself, with each side preferred.
func TestResolveCases(t *testing.T) {
	for _, c := range resolveCases {
		sides := []driftdb.Side{driftdb.Ours, driftdb.Theirs}
		if c.conflicts == "" || testing.Short() {
			sides = sides[:1]
		}
		for _, side := range sides {
			t.Run(fmt.Sprint(c.name, " ", side), func(t *testing.T) {
				t.Parallel()
				l := newLaptops(t, c.schema)
				l.part(strings.Split(c.a, "; "), strings.Split(c.b, "; "))
				res, err := l.resolve(driftdb.ResolveConfig{})
				if c.conflicts != "" {
					if !errors.Is(err, driftdb.ErrConflict) || res.Resolved {
						t.Fatalf("without a side: %+v, %v", res, err)
					}
					res, err = l.resolve(driftdb.ResolveConfig{Prefer: side})
				}
				systemtest.Check(t, err)
				var kinds []string
				for _, x := range res.Conflicts {
					kinds = append(kinds, fmt.Sprint(x.Kind, " ", x.Table))
				}
				slices.Sort(kinds)
				want, conflicts := c.ours, c.conflicts
				first, second, differ := strings.Cut(c.conflicts, "|")
				if differ {
					conflicts = first
				}
				if side == driftdb.Theirs {
					if want = c.theirs; differ {
						conflicts = second
					}
				}
				if got := strings.Join(kinds, ", "); got != conflicts {
					t.Errorf("conflicts: %s, want %s", got, conflicts)
				}
				l.agree()
				if got := rows(t, l.b, "SELECT CAST(("+c.query+") AS TEXT)"); !slices.Equal(got, []string{want}) {
					t.Errorf("%s\nis %q, want %q", c.query, got, want)
				}
			})
		}
	}
}

// TestResolveInterrupted: whichever request it ends at, the file is as it was, and the
// next attempt resolves.
func TestResolveInterrupted(t *testing.T) {
	l := newLaptops(t, "CREATE TABLE t(k PRIMARY KEY, v); INSERT INTO t VALUES(1, 'x')")
	l.part([]string{"INSERT INTO t VALUES(2, 'a')"}, []string{"INSERT INTO t VALUES(3, 'b')"})
	before, err := dbtest.Dump(l.b.Path)
	systemtest.Check(t, err)
	store, cfg := l.b.Store, driftdb.ResolveConfig{Name: l.b.Name, Path: l.b.Path}
	for n, resolved := 1, false; !resolved; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		cfg.Store = objstoretest.Break(store, func(c objstoretest.Call) objstoretest.Fault {
			if c.N == n {
				cancel()
			}
			return objstoretest.Fault{}
		})
		res, err := driftdb.Resolve(ctx, cfg)
		cancel()
		if resolved = res.Resolved; resolved {
			if systemtest.Check(t, err); n < 10 {
				t.Fatalf("it took %d requests", n-1)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("request %d is the last: %v", n, err)
		}
		now, err := dbtest.Dump(l.b.Path)
		systemtest.Check(t, err)
		if now != before {
			t.Fatalf("request %d is the last: %s", n, dbtest.Diff(before, now))
		}
	}
	if left, err := filepath.Glob(l.b.Path + "-driftdb*"); err != nil || len(left) > 0 {
		t.Errorf("left beside the file: %v, %v", left, err)
	}
	l.agree()
}
