package sqlite_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	"pgregory.net/rapid"
)

func openPlain(t testing.TB, path string, opts sqlite.Options) *sqlite.Conn {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// run runs scripts that must succeed.
func run(t testing.TB, c *sqlite.Conn, scripts ...string) {
	t.Helper()
	for _, s := range scripts {
		if err := c.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// start starts a ledger and returns what it begins with.
func start(t testing.TB, l *sqlite.Ledger, c *sqlite.Conn) (sum uint64, inWAL bool) {
	t.Helper()
	run(t, c, "BEGIN IMMEDIATE")
	sum, inWAL, err := l.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	run(t, c, "ROLLBACK")
	return sum, inWAL
}

// TestReadWAL damages the WAL of a killed process in random ways. What we read
// in it is what SQLite's recovery finds.
func TestReadWAL(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		path := filepath.Join(dir, "x.db")
		c := openPlain(t, path, sqlite.Options{KeepJournal: true, Synchronous: sqlite.SyncOff})
		run(t, c, fmt.Sprintf("PRAGMA page_size=%d; PRAGMA journal_mode=WAL; PRAGMA cache_size=10; PRAGMA wal_autocheckpoint=%d",
			rapid.SampledFrom([]int{512, 4096, 65536}).Draw(rt, "page"), rapid.SampledFrom([]int{3, 1000}).Draw(rt, "checkpoint")), "CREATE TABLE t(a)")
		for range rapid.IntRange(0, 8).Draw(rt, "commits") {
			run(t, c, rapid.SampledFrom([]string{
				"INSERT INTO t VALUES(1)",
				"INSERT INTO t VALUES(zeroblob(100000))", // spills
				"DELETE FROM t WHERE rowid % 2",
				"BEGIN; INSERT INTO t VALUES(zeroblob(200000)); ROLLBACK",
				"PRAGMA wal_checkpoint(TRUNCATE)",
				"PRAGMA wal_checkpoint(RESTART)",
			}).Draw(rt, "statement"))
		}
		copied := filepath.Join(dir, "copy.db") // what a kill would leave
		for _, suffix := range []string{"", "-wal"} {
			b, err := os.ReadFile(path + suffix)
			if err != nil {
				rt.Fatal(err)
			}
			if n := len(b); suffix != "" && n > 0 {
				at := rapid.IntRange(0, n-1).Draw(rt, "at")
				switch rapid.IntRange(0, 3).Draw(rt, "damage") {
				case 0:
					b = b[:at]
				case 1:
					b[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
				}
			}
			if err := os.WriteFile(copied+suffix, b, 0o600); err != nil {
				rt.Fatal(err)
			}
		}
		c.Close()
		tail, err := sqlite.ReadWAL(copied)
		if err != nil {
			rt.Fatal(err)
		}
		again, err := new(sqlite.Driver).Open(copied, sqlite.Options{KeepJournal: true})
		if err != nil {
			rt.Skip(err) // a header that SQLite does not want to recover from
		}
		defer again.Close()
		if n, err := again.Int("SELECT count(*) FROM sqlite_schema"); err != nil || n == 0 {
			rt.Skip("the whole database was in the damaged WAL")
		}
		sum, inWAL := start(t, new(sqlite.Ledger), again)
		if inWAL != (len(tail.Pages) > 0) || inWAL && sum != tail.Sum {
			rt.Fatalf("SQLite found the checksum %x in the WAL (%v), we found %x with %d pages", sum, inWAL, tail.Sum, len(tail.Pages))
		}
	})
}

// TestReadWALPages: the pages are those of the last commit alone.
func TestReadWALPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if tail, err := sqlite.ReadWAL(path); err != nil || tail.Pages != nil {
		t.Fatalf("no file: %+v, %v", tail, err)
	}
	c := openPlain(t, path, sqlite.Options{})
	run(t, c, "CREATE TABLE a(x); CREATE TABLE b(x); CREATE TABLE c(x)")
	run(t, c, "INSERT INTO a VALUES(1)", "BEGIN; INSERT INTO b VALUES(1); INSERT INTO c VALUES(1); COMMIT")
	tail, err := sqlite.ReadWAL(path) // no lock of ours is lost that this test needs
	if err != nil {
		t.Fatal(err)
	}
	var want []uint32
	if err := c.Each("SELECT rootpage FROM sqlite_schema WHERE name IN ('b', 'c')", func(st *sqlite.Stmt) error {
		want = append(want, uint32(st.Int64(0)))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(tail.Pages)
	if !slices.Equal(tail.Pages, want) {
		t.Errorf("pages %v, want %v", tail.Pages, want)
	}
}

// TestEdges compares with dbstat, which has the way to each page.
func TestEdges(t *testing.T) {
	for _, table := range []string{"CREATE TABLE t(id INTEGER PRIMARY KEY, a)", "CREATE TABLE t(id, a, PRIMARY KEY(id, a)) WITHOUT ROWID"} {
		c := openPlain(t, filepath.Join(t.TempDir(), "x.db"), sqlite.Options{})
		run(t, c, "PRAGMA page_size=512; VACUUM", table)
		for _, rows := range []int{0, 1, 10, 100, 10_000} {
			run(t, c, fmt.Sprintf("DELETE FROM t; WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT i, hex(randomblob(20)) FROM n WHERE i <= %[1]d", rows))
			root, err := c.Int("SELECT rootpage FROM sqlite_schema WHERE name = 't'")
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Edges(uint32(root))
			if err != nil {
				t.Fatal(err)
			}
			want := map[uint32]bool{}
			for _, order := range []string{"", " DESC"} {
				leaf, err := c.Text("SELECT path FROM dbstat WHERE name = 't' AND pagetype = 'leaf' ORDER BY path" + order + " LIMIT 1")
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Each("SELECT pageno FROM dbstat WHERE name = 't' AND pagetype <> 'overflow' AND '"+leaf+"' LIKE path || '%'", func(st *sqlite.Stmt) error {
					want[uint32(st.Int64(0))] = true
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			for _, p := range got {
				if !want[p] {
					t.Errorf("%s with %d rows: page %d is at no edge", table, rows, p)
				}
				delete(want, p)
			}
			if len(want) > 0 {
				t.Errorf("%s with %d rows: pages %v are missing", table, rows, want)
			}
		}
	}
}

// FuzzReadWAL: no file makes it panic or allocate without end.
func FuzzReadWAL(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed.db")
	c := openPlain(f, path, sqlite.Options{})
	run(f, c, "PRAGMA page_size=512", "CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
	b, err := os.ReadFile(path + "-wal")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:40])
	f.Add([]byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "x")
		if err := os.WriteFile(path+"-wal", b, 0o600); err != nil {
			t.Fatal(err)
		}
		tail, err := sqlite.ReadWAL(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(tail.Pages)*512 > len(b) {
			t.Errorf("%d pages in %d bytes", len(tail.Pages), len(b))
		}
	})
}
