package scan_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/digest/scan"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"pgregory.net/rapid"
)

// shapes are tables with the columns a, b and c.
var shapes = []string{
	"CREATE TABLE %s(a, b TEXT, c REAL)",
	"CREATE TABLE %s(a INTEGER PRIMARY KEY, b TEXT, c REAL)",
	"CREATE TABLE %s(a INTEGER PRIMARY KEY DESC, b, c NUMERIC)",
	"CREATE TABLE %s(a INTEGER PRIMARY KEY AUTOINCREMENT, b UNIQUE, c)",
	"CREATE TABLE %s(a REAL PRIMARY KEY, b, c) WITHOUT ROWID",
	"CREATE TABLE %s(c, a COLLATE NOCASE, b, PRIMARY KEY(b, a)) WITHOUT ROWID",
	"CREATE TABLE %s(a UNIQUE, b, c REAL, g AS (a || b), h AS (c) STORED)",
	"CREATE TABLE %s(rowid, a, b, c, oid, d DEFAULT -0.0)",
}

var values = []any{
	nil, int64(0), int64(1), int64(2), int64(3), int64(-1), int64(math.MaxInt64), int64(math.MinInt64), 0.0, math.Copysign(0, -1), 1.0, 1.5, math.Inf(-1), 1e300,
	"", "a", "A", "b", "1", "x\x00y", "\xff", []byte{}, []byte("a"), []byte{0},
}

var statements = []string{
	"INSERT INTO %s(a, b, c) VALUES(?1, ?2, ?3)",
	"INSERT OR REPLACE INTO %s(a, b, c) VALUES(?1, ?2, ?3)",
	"INSERT INTO %s(a, b, c) SELECT ?1, ?2, ?3 UNION ALL SELECT ?3, ?1, ?2",
	"UPDATE %s SET a = ?1 WHERE b IS ?2", "UPDATE OR REPLACE %s SET a = ?1, b = ?2", "UPDATE OR IGNORE %s SET b = ?1, a = ?3 WHERE c > ?2",
	"UPDATE %s SET c = ?1", "UPDATE OR REPLACE %s SET a = a + 1", "DELETE FROM %s WHERE a IS ?1 OR b IS ?2", "DELETE FROM %s",
}

// TestFollowed makes random changes through a captured connection. After every
// commit, what the log says of the tables is what is in them.
func TestFollowed(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		f := newFollowed(t, filepath.Join(dir, fmt.Sprint(run, ".db")))
		defer f.close()
		n := rapid.IntRange(1, 3).Draw(rt, "tables")
		for i := range n {
			f.exec(fmt.Sprintf(rapid.SampledFrom(shapes).Draw(rt, "shape"), fmt.Sprint("t", i)))
		}
		f.check(rt)
		for range rapid.IntRange(1, 8).Draw(rt, "transactions") {
			several := rapid.Bool().Draw(rt, "several")
			if several {
				f.exec("BEGIN")
			}
			for range rapid.IntRange(1, 4).Draw(rt, "statements") {
				f.step(rt, n)
			}
			if several && !f.c.Autocommit() { // AUTOINCREMENT behind the last rowid ends the transaction
				f.exec(rapid.SampledFrom([]string{"COMMIT", "COMMIT", "ROLLBACK"}).Draw(rt, "end"))
			}
			f.check(rt)
		}
	})
}

// followed is a database and what its log says of it.
type followed struct {
	testing.TB
	c    *capture.Conn
	read *sqlite.Conn
	log  *changelog.Log
	next int64 // sequence
	made int   // names given
	set  digest.Set
}

func newFollowed(t testing.TB, path string) *followed {
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{Synchronous: sqlite.SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := changelog.Init(c, ""); err != nil {
		t.Fatal(err)
	}
	f := &followed{TB: t, read: c, log: changelog.View(c), next: 1, set: digest.Set{}}
	if f.c, err = capture.Open(path, sqlite.Options{Synchronous: sqlite.SyncOff}, capture.NewShared(0, 0, nil)); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *followed) close() {
	if err := errors.Join(f.c.Close(), f.read.Close()); err != nil {
		f.Fatal(err)
	}
}

func (f *followed) exec(query string) {
	f.Helper()
	if _, err := f.c.ExecContext(f.Context(), query, nil); err != nil {
		f.Fatalf("%s: %v", query, err)
	}
}

// step runs a random statement, which may fail.
func (f *followed) step(rt *rapid.T, tables int) {
	f.made++
	if rapid.IntRange(0, 9).Draw(rt, "schema") == 0 {
		f.exec(fmt.Sprintf(rapid.SampledFrom([]string{"ALTER TABLE t0 ADD COLUMN n%d", "CREATE INDEX i%d ON t0(a, b, c)", "CREATE TABLE x%d(y)"}).Draw(rt, "statement"), f.made))
		return
	}
	query := fmt.Sprintf(rapid.SampledFrom(statements).Draw(rt, "statement"), fmt.Sprint("t", rapid.IntRange(0, tables-1).Draw(rt, "table")))
	var args []driver.NamedValue
	for i := 1; strings.Contains(query, fmt.Sprint("?", i)) || i < 3 && strings.Contains(query, "?3"); i++ {
		args = append(args, driver.NamedValue{Ordinal: i, Value: rapid.SampledFrom(values).Draw(rt, "value")})
	}
	_, err := f.c.ExecContext(f.Context(), query, args)
	if err != nil && strings.Contains(err.Error(), "capture") {
		rt.Fatalf("%s: %v", query, err)
	}
}

// check applies what the log has got, and compares.
func (f *followed) check(rt *rapid.T) {
	if err := f.log.Each(f.next, func(tx changelog.Transaction) error {
		f.next = tx.Last() + 1
		return f.log.Entries(tx, func(sequence int64, e *change.Entry) error {
			before := maps.Clone(f.set)
			f.set.Apply(e)
			if e.Op == change.Schema {
				return nil
			}
			back := maps.Clone(f.set)
			if err := back.Revert(e); err != nil || !maps.Equal(back, before) {
				return fmt.Errorf("sequence %d taken back: %v, want %v: %v", sequence, back, before, err)
			}
			return nil
		})
	}); err != nil {
		rt.Fatal(err)
	}
	all, err := scan.All(context.Background(), f.read)
	if err != nil {
		rt.Fatal(err)
	}
	if !maps.Equal(f.set, all) {
		rt.Fatalf("the log says %v, the tables %v", f.set, all)
	}
}

// TestAll: which tables have a digest, and whether an index may stand in for
// one.
func TestAll(t *testing.T) {
	c, err := new(sqlite.Driver).Open(filepath.Join(t.TempDir(), "x.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := changelog.Init(c, ""); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(`CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a); CREATE INDEX i ON t(a); INSERT INTO t(a) VALUES(1); ANALYZE;
		CREATE TABLE "odd ""name"("a ""b" PRIMARY KEY, "") WITHOUT ROWID;
		CREATE TABLE hidden(rowid, oid, _rowid_); CREATE TABLE nameless(rowid, oid, _rowid_); INSERT INTO nameless VALUES(1, 2, 3);
		CREATE VIEW v AS SELECT 1; CREATE VIRTUAL TABLE f USING fts5(x); CREATE TEMP TABLE temporary(a)`); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("CREATE TABLE \"x\xff\"(a)"); err != nil {
		t.Fatal(err)
	}
	all, err := scan.All(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(slices.Sorted(maps.Keys(all)), " "), `f_config f_content f_data f_docsize f_idx hidden odd "name t`; got != want {
		t.Errorf("digests of %s, want %s", got, want)
	}
	if sum, err := scan.Table(t.Context(), c, "t"); err != nil || sum != all["t"] || sum == (digest.Sum{}) {
		t.Errorf("%v, %v", sum, err)
	}
	for _, none := range []string{"nameless", "nope"} {
		if _, err := scan.Table(t.Context(), c, none); err == nil || !strings.Contains(err.Error(), none) {
			t.Errorf("%s: %v", none, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := scan.All(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("a scan whose context has ended: %v", err)
	}
}
