package backup_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// differences formats what Diff yields, a line for each change.
func differences(t *testing.T, db *driftdb.DB, from, to driftdb.Point) (out []string) {
	t.Helper()
	row := func(m map[string]any) string {
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(m)) {
			parts = append(parts, fmt.Sprintf("%s=%v", name, m[name]))
		}
		return strings.Join(parts, " ")
	}
	for c, err := range db.Backup().Diff(t.Context(), from, to) {
		if err != nil {
			t.Fatal(err)
		}
		switch c.Operation {
		case driftdb.OperationSchema:
			out = append(out, c.SQL)
		case driftdb.OperationBarrier:
			out = append(out, "compared")
		default:
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s [%s] %s -> %s", c.Operation, c.Table, row(c.Key), row(c.Before), row(c.After))))
		}
	}
	return out
}

// TestDiffFolds: what becomes of several changes of a row, forward and back.
func TestDiffFolds(t *testing.T) {
	const tables = "CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v); INSERT INTO t VALUES(1, 'a', 'x'), (2, 'b', 'y'), (3, 'c', 'z');" +
		"CREATE TABLE k(k TEXT PRIMARY KEY, v); INSERT INTO k VALUES('one', 1), ('two', 2);" +
		"CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, v); INSERT INTO a VALUES(5, 'x')"
	for _, c := range []struct {
		what, script string
		want, back   []string // back: nil if it is compared
	}{
		{"nothing", "UPDATE t SET v = v", nil, []string{}},
		{"insert, update", "INSERT INTO t VALUES(4, 'd', 1); UPDATE t SET v = 2 WHERE id = 4", []string{"insert t [id=4]  -> id=4 u=d v=2"}, []string{"delete t [id=4] id=4 u=d v=2 ->"}},
		{"insert, delete", "INSERT INTO t VALUES(4, 'd', 1); DELETE FROM t WHERE id = 4", nil, []string{}},
		{"update, delete", "UPDATE t SET v = 'new' WHERE id = 1; DELETE FROM t WHERE id = 1", []string{"delete t [id=1] id=1 u=a v=x ->"}, []string{"insert t [id=1]  -> id=1 u=a v=x"}},
		{"delete, insert", "DELETE FROM t WHERE id = 1; INSERT INTO t VALUES(1, 'a', 'new')", []string{"update t [id=1] v=x -> v=new"}, []string{"update t [id=1] v=new -> v=x"}},
		{"delete, insert of the same", "DELETE FROM t WHERE id = 1; INSERT INTO t VALUES(1, 'a', 'x')", nil, []string{}},
		{"update, update", "UPDATE t SET v = 1, u = 'A' WHERE id = 1; UPDATE t SET v = 2, u = 'a' WHERE id = 1", []string{"update t [id=1] v=x -> v=2"}, []string{"update t [id=1] v=2 -> v=x"}},
		{"update and back", "UPDATE t SET v = 1 WHERE id = 1; UPDATE t SET v = 'x' WHERE id = 1", nil, []string{}},
		{"a storage class", "UPDATE t SET v = 1; UPDATE t SET v = 1.0 WHERE id = 1; DELETE FROM t WHERE id > 1", []string{"delete t [id=2] id=2 u=b v=y ->", "delete t [id=3] id=3 u=c v=z ->", "update t [id=1] v=x -> v=1"}, []string{"update t [id=1] v=1 -> v=x", "insert t [id=2]  -> id=2 u=b v=y", "insert t [id=3]  -> id=3 u=c v=z"}},
		{"a new key", "UPDATE t SET id = 9 WHERE id = 1; UPDATE t SET v = 'new' WHERE id = 9", []string{"update t [id=1] id=1 u=a v=x -> id=9 u=a v=new"}, []string{"update t [id=9] id=9 u=a v=new -> id=1 u=a v=x"}},
		{"a new key and back", "UPDATE t SET id = 9 WHERE id = 1; UPDATE t SET id = 1 WHERE id = 9", nil, []string{}},
		{"a chain", "UPDATE t SET id = 4 WHERE id = 3; UPDATE t SET id = 3 WHERE id = 2", []string{"update t [id=3] id=3 u=c v=z -> id=4 u=c v=z", "update t [id=2] id=2 u=b v=y -> id=3 u=b v=y"}, []string{"update t [id=3] id=3 u=b v=y -> id=2 u=b v=y", "update t [id=4] id=4 u=c v=z -> id=3 u=c v=z"}},
		{"moved away, and another inserted", "UPDATE t SET id = 9 WHERE id = 1; INSERT INTO t VALUES(1, 'new', 0)", []string{"update t [id=1] id=1 u=a v=x -> id=9 u=a v=x", "insert t [id=1]  -> id=1 u=new v=0"}, []string{"delete t [id=1] id=1 u=new v=0 ->", "update t [id=9] id=9 u=a v=x -> id=1 u=a v=x"}},
		{"moved to where a row was deleted", "DELETE FROM t WHERE id = 1; UPDATE t SET id = 1 WHERE id = 2", []string{"delete t [id=1] id=1 u=a v=x ->", "update t [id=2] id=2 u=b v=y -> id=1 u=b v=y"}, []string{"update t [id=1] id=1 u=b v=y -> id=2 u=b v=y", "insert t [id=1]  -> id=1 u=a v=x"}},
		{"a text key", "UPDATE k SET k = 'uno' WHERE k = 'one'", []string{"update k [k=one] k=one -> k=uno"}, []string{"update k [k=uno] k=uno -> k=one"}},
		{"REPLACE", "INSERT OR REPLACE INTO t VALUES(1, 'b', 0)", []string{"delete t [id=2] id=2 u=b v=y ->", "update t [id=1] u=a v=x -> u=b v=0"}, []string{"update t [id=1] u=b v=0 -> u=a v=x", "insert t [id=2]  -> id=2 u=b v=y"}},
		{"a counter", "INSERT INTO a(v) VALUES('y'); DELETE FROM a WHERE v = 'y'", []string{"update sqlite_sequence [name=a]  -> seq=6"}, nil},
		{"an added column", "ALTER TABLE t ADD COLUMN n DEFAULT 7; UPDATE t SET n = 8 WHERE id = 1; INSERT INTO t(id) VALUES(4)", []string{"ALTER TABLE t ADD COLUMN n DEFAULT 7", "update t [id=1] n=7 -> n=8", "insert t [id=4]  -> id=4 n=7 u=<nil> v=<nil>"}, nil},
		{"renames", "UPDATE t SET v = 1 WHERE id = 1; ALTER TABLE t RENAME COLUMN v TO w; ALTER TABLE t RENAME TO s; UPDATE s SET w = 2 WHERE id = 1", []string{"ALTER TABLE t RENAME COLUMN v TO w", "ALTER TABLE t RENAME TO s", "update s [id=1] w=x -> w=2"}, nil},
		{"a dropped column", "UPDATE t SET v = 1; ALTER TABLE t DROP COLUMN v", []string{"ALTER TABLE t DROP COLUMN v"}, nil},
		{"a dropped table", "UPDATE k SET v = 0; DROP TABLE k", []string{"DROP TABLE k"}, nil},
		{"a table that was made again", "UPDATE k SET v = 0; DROP TABLE k; CREATE TABLE k(k, v, w); INSERT INTO k VALUES('one', 1, 1)", []string{"DROP TABLE k", "CREATE TABLE k(k, v, w)", "insert k [rowid=1]  -> k=one v=1 w=1"}, nil},
		{"a unique index at the end", "UPDATE k SET v = 0 WHERE v = 1; CREATE UNIQUE INDEX i ON k(v)", []string{"update k [k=one] v=1 -> v=0", "CREATE UNIQUE INDEX i ON k(v)"}, nil},
		{"a column that needs an empty table", "DELETE FROM k; ALTER TABLE k ADD COLUMN n NOT NULL DEFAULT (random()); INSERT INTO k VALUES('one', 1, 2)", []string{"compared", `DROP TABLE "k"`, "CREATE TABLE k(k TEXT PRIMARY KEY, v, n NOT NULL DEFAULT (random()))", "insert k [k=one]  -> k=one n=2 v=1"}, nil},
		{"a barrier", "UPDATE t SET v = 'new' WHERE id = 1; VACUUM; DELETE FROM t WHERE id = 2", []string{"compared", "delete t [id=2] id=2 u=b v=y ->", "update t [id=1] v=x -> v=new"}, []string{"compared", "update t [id=1] v=new -> v=x", "insert t [id=2]  -> id=2 u=b v=y"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			db := systemtest.Open(t, systemtest.Config(t))
			systemtest.Exec(t, db, tables)
			from := driftdb.Point{Sequence: db.Sequence()}
			systemtest.Check(t, systemtest.ErrorOf(db.Snapshot(t.Context())))
			for _, statement := range strings.Split(c.script, "; ") {
				systemtest.Exec(t, db, statement)
			}
			systemtest.Check(t, systemtest.ErrorOf(db.Snapshot(t.Context())))
			to := driftdb.Point{Sequence: db.Sequence()}
			if got := differences(t, db, from, to); !slices.Equal(got, c.want) {
				t.Errorf("forward:\n%s", strings.Join(got, "\n"))
			}
			got := differences(t, db, to, from)
			if c.back == nil && (len(got) == 0 || got[0] != "compared") || c.back != nil && !slices.Equal(got, c.back) {
				t.Errorf("back:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

// TestDiffPoints: which states two points mean, and what is said of points that there are not.
func TestDiffPoints(t *testing.T) {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	ctx := t.Context()
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")  // 1
	systemtest.Exec(t, db, "INSERT INTO t VALUES(1, 1), (2, 2), (3, 3)") // 2 to 4
	systemtest.Exec(t, db, "UPDATE t SET v = 0")                         // 5 to 7
	systemtest.Exec(t, db, "INSERT INTO t VALUES(4, 4)")                 // 8
	systemtest.Check(t, db.Flush(ctx))
	at := func(n int64) driftdb.Point { return driftdb.Point{Sequence: n} }
	for _, c := range []struct {
		from, to int64
		want     int
	}{
		{4, 7, 3}, {4, 6, 0}, {4, 4, 0}, {3, 1, 0}, {3, 4, 3}, {3, 7, 3}, {1, 6, 3}, {7, 0, 1}, {0, 7, 1}, {0, 0, 0}, {8, 0, 0}, {6, 8, 4},
	} {
		if got := differences(t, db, at(c.from), at(c.to)); len(got) != c.want {
			t.Errorf("from %d to %d: %q", c.from, c.to, got)
		}
	}
	now := driftdb.Point{Time: time.Now().Add(time.Hour)}
	if got := differences(t, db, at(7), now); len(got) != 1 {
		t.Errorf("to a time: %q", got)
	}
	for _, c := range []struct {
		from, to driftdb.Point
		says     string
	}{
		{at(1), at(9), "sequence 9 was asked for; the earliest point is 1 ("},
		{at(100), at(1), "and the latest 8 ("},
		{driftdb.Point{Time: time.Unix(1, 0)}, at(1), "its first change is later; the earliest point is 1 ("},
		{at(1), at(-1), "Sequence -1 is negative"},
	} {
		err := diffError(ctx, db.Backup(), c.from, c.to)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.says, err)
		}
		if c.to.Sequence >= 0 && !errors.Is(err, driftdb.ErrNoBackup) {
			t.Errorf("%v is not ErrNoBackup", err)
		}
	}
	err := systemtest.ErrorOf(db.Backup().Restore(ctx, t.TempDir()+"/x", driftdb.RestoreOptions{At: at(9)}))
	if err == nil || !strings.Contains(err.Error(), "the latest 8 (") {
		t.Error(err)
	}
	for line, err := range db.Backup().DiffSQL(ctx, at(8), at(8), "") {
		t.Error(line, err)
	}
	other := systemtest.Open(t, driftdb.Config{Name: "local", Path: t.TempDir() + "/local.sqlite"})
	if err := diffError(ctx, other.Backup(), at(1), at(2)); !errors.Is(err, driftdb.ErrNoStore) {
		t.Error(err)
	}
}

func diffError(ctx context.Context, b *driftdb.Backup, from, to driftdb.Point) (last error) {
	for _, err := range b.Diff(ctx, from, to) {
		last = err
	}
	return last
}

// TestDiffEnds: a consumer that has seen enough, and a context that ends.
func TestDiffEnds(t *testing.T) {
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Some(t, db, "t", 20)
	systemtest.Check(t, db.Flush(t.Context()))
	from, to := driftdb.Point{Sequence: 1}, driftdb.Point{Sequence: 21}
	for _, err := range db.Backup().Diff(t.Context(), from, to) {
		systemtest.Check(t, err)
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for _, err := range db.Backup().Diff(ctx, from, to) {
		if n++; n == 1 {
			cancel()
		} else if !errors.Is(err, context.Canceled) {
			t.Fatal(n, err)
		}
	}
	if n != 2 {
		t.Errorf("%d changes and errors after a cancelled context", n)
	}
}
