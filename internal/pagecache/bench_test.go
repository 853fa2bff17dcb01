package pagecache_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/driftdb/driftdb-go/internal/pagecache"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

var builtIn = flag.Bool("builtin", false, "benchmarks run with SQLite's own page cache, for comparison")

// useBuiltIn configures SQLite's own page cache, if that is wanted, before the first
// connection is opened.
var useBuiltIn = sync.OnceFunc(func() {
	if !*builtIn {
		return
	}
	tls := libc.NewTLS()
	defer tls.Close()
	none := libc.Xcalloc(tls, 1, 256) // methods without xInit stand for its own
	if rc := lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_PCACHE2, libc.VaList(libc.Xcalloc(tls, 1, 8), none)); rc != lib.SQLITE_OK {
		panic(fmt.Sprintf("SQLITE_CONFIG_PCACHE2: %d", rc))
	}
})

const benchRows = 40_000 // of a kilobyte

// benchFile makes a file of 48 MB.
func benchFile(tb testing.TB) string {
	tb.Helper()
	useBuiltIn()
	path := filepath.Join(tb.TempDir(), "x.db")
	c, err := sqlite.Open(path, sqlite.Options{Synchronous: sqlite.SyncOff})
	if err == nil {
		err = c.Exec(fmt.Sprintf("CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB);"+
			"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO t (a) SELECT randomblob(1000) FROM n;"+
			"PRAGMA wal_checkpoint(TRUNCATE)", benchRows))
	}
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

func openBench(tb testing.TB, path string, budget *pagecache.Budget, kib int) *sqlite.Conn {
	tb.Helper()
	c, err := sqlite.Open(path, sqlite.Options{Cache: budget, CacheKiB: kib})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

const (
	sumAll = "SELECT sum(length(a)) FROM t"
	lookUp = "SELECT length(a) FROM t WHERE id = ?1"
)

// BenchmarkRead is one connection that reads what is in its cache, and what is eight
// times as large.
func BenchmarkRead(b *testing.B) {
	path := benchFile(b)
	for _, kib := range []int{64 << 10, 6 << 10} {
		c := openBench(b, path, pagecache.New(int64(kib)<<10), kib)
		if _, err := c.Int(sumAll); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("lookup/cache=%dMiB", kib>>10), func(b *testing.B) {
			st, err := c.Cached(lookUp)
			if err != nil {
				b.Fatal(err)
			}
			defer st.Release()
			for b.Loop() {
				st.BindInt64(1, 1+rand.Int64N(benchRows))
				if err := st.Each(func(*sqlite.Stmt) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("scan/cache=%dMiB", kib>>10), func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Int(sumAll); err != nil {
					b.Fatal(err)
				}
			}
		})
		if err := c.Close(); err != nil { // SQLite's own would give the next one its pages
			b.Fatal(err)
		}
	}
}

// BenchmarkClose is the end of a connection whose cache has 48 MB.
func BenchmarkClose(b *testing.B) {
	path := benchFile(b)
	for b.Loop() {
		b.StopTimer()
		c := openBench(b, path, pagecache.New(64<<20), 64<<10)
		if _, err := c.Int(sumAll); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
