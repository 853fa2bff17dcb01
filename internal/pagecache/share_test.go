package pagecache_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/pagecache"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	driver "modernc.org/sqlite"
)

// TestShare: connections keep to their budget together. One that reads alone has
// nearly all of it, and others take from it what they use.
func TestShare(t *testing.T) {
	path := benchFile(t)
	const limit = 8 << 20
	b := pagecache.New(limit)
	conns := make([]*sqlite.Conn, 4)
	for i := range conns {
		conns[i] = openBench(t, path, b, 1<<10)
	}
	used := func(c *sqlite.Conn) int64 {
		t.Helper()
		n, _, err := c.Driver.Status(driver.DBStatusCacheUsed, false)
		if err != nil {
			t.Fatal(err)
		}
		return int64(n)
	}
	read := func(c *sqlite.Conn, query string) {
		t.Helper()
		if _, err := c.Int(query); err != nil {
			t.Fatal(err)
		}
		if n := b.Used(); n > limit {
			t.Errorf("%d bytes are used, of %d", n, limit)
		}
	}
	read(conns[0], sumAll)
	if n := used(conns[0]); n < limit/10*9 {
		t.Errorf("the only reader has %d bytes, of %d", n, limit)
	}
	for _, c := range conns[1:] {
		read(c, "SELECT sum(length(a)) FROM t WHERE id < 2000") // 2.4 MB
	}
	var all int64
	for i, c := range conns {
		n := used(c)
		all += n
		if i > 0 && n < 2<<20 {
			t.Errorf("reader %d has %d bytes of what it has just read", i, n)
		}
	}
	if all > limit {
		t.Errorf("all have %d bytes, of %d", all, limit)
	}
	for _, c := range conns {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := b.Used(); n != 0 {
		t.Errorf("%d bytes are used when all is closed", n)
	}
}

// TestChurn writes more than the cache has room for, in transactions that are
// committed and rolled back, while other connections read; with tables and indexes
// that are temporary, dropped, vacuumed, and pages of every size.
func TestChurn(t *testing.T) {
	useBuiltIn()
	for _, page := range []int{4096, 512, 65536} {
		if testing.Short() && page != 4096 {
			continue
		}
		t.Run(fmt.Sprint(page), func(t *testing.T) { churn(t, page) })
	}
}

func churn(t *testing.T, page int) {
	path := filepath.Join(t.TempDir(), "x.db")
	const limit = 1 << 20
	b := pagecache.New(limit)
	c := openBench(t, path, b, 128)
	run := func(script string) {
		t.Helper()
		if err := c.Exec(script); err != nil {
			t.Fatalf("%s: %v", script, err)
		}
	}
	is := func(c *sqlite.Conn, query string, want any) {
		t.Helper()
		if got, err := c.Text(query); err != nil || got != fmt.Sprint(want) {
			t.Fatalf("%s: %s, %v; want %v", query, got, err, want)
		}
	}
	run(fmt.Sprintf("PRAGMA journal_mode=DELETE; PRAGMA page_size=%d; PRAGMA auto_vacuum=INCREMENTAL; VACUUM; PRAGMA journal_mode=WAL;", page) +
		"CREATE TABLE t (id INTEGER PRIMARY KEY, k INT, a BLOB); CREATE INDEX k ON t (k)")
	is(c, "PRAGMA page_size", page)
	readers := []*sqlite.Conn{openBench(t, path, b, 128), openBench(t, path, b, 128)}
	fill := func(rows int) string {
		return fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d)"+
			" INSERT INTO t (k, a) SELECT random(), randomblob(200 + i %% 1000) FROM n;", rows)
	}
	rows := 0
	for i := range 3 {
		run("BEGIN; " + fill(2000) + "COMMIT")
		rows += 2000
		run("BEGIN; SAVEPOINT s; UPDATE t SET k = random(); ROLLBACK TO s; DELETE FROM t WHERE id % 3 = 0; ROLLBACK")
		run(fmt.Sprintf("CREATE TEMP TABLE x%d AS SELECT DISTINCT k, a FROM t ORDER BY a", i))
		for _, r := range readers {
			is(r, "SELECT count(*) FROM t NOT INDEXED WHERE length(a) > 0", rows)
			is(r, "SELECT count(*) FROM t INDEXED BY k WHERE k IS NOT NULL", rows)
		}
		run(fmt.Sprintf("DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY k LIMIT 1000); DROP TABLE x%d; PRAGMA incremental_vacuum", i))
		rows -= 1000
		switch rand.IntN(3) {
		case 0:
			run("PRAGMA shrink_memory")
		case 1:
			run("VACUUM")
		}
	}
	is(c, "PRAGMA integrity_check", "ok")
	for _, r := range append(readers, c) {
		is(r, "SELECT count(*) FROM t", rows)
	}
	if n := b.Used(); n > limit {
		t.Errorf("%d bytes are used, of %d", n, limit)
	}
}

// TestOtherCache: a program that has configured another page cache works with that.
func TestOtherCache(t *testing.T) {
	if *builtIn || testing.Short() {
		t.Skip("runs this test binary once more, with SQLite's own cache")
	}
	out, err := exec.Command(os.Args[0], "-test.run=^TestChurn$/^4096$", "-builtin").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
