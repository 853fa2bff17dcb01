package driftdb_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
)

// TestCacheBytes: connections that have read far more keep to CacheBytes together.
func TestCacheBytes(t *testing.T) {
	cfg := config(t)
	cfg.CacheBytes = 2 << 20
	db := open(t, cfg)
	exec(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB)")
	exec(t, db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000) INSERT INTO t (a) SELECT randomblob(1000) FROM n")
	const query = "SELECT sum(length(hex(substr(a, 900)))) FROM t"
	for range 2 {
		var n int64
		check(t, db.SQL().QueryRow(query).Scan(&n))
		cacheFull(t, db, cfg.CacheBytes)
		if _, err := driftdb.Select[int64](t.Context(), db, query); err != nil {
			t.Fatal(err)
		}
		cacheFull(t, db, cfg.CacheBytes)
	}
}

// cacheFull says that nearly all of the cache is used, and not more.
func cacheFull(t *testing.T, db *driftdb.DB, limit int64) {
	t.Helper()
	if n := driftdb.CacheUsed(db); n > limit || n < limit/10*9 {
		t.Errorf("%d bytes of %d are used", n, limit)
	}
}

// TestMaxReaders: no more read at the same time; who comes later waits, for its
// context at the most.
func TestMaxReaders(t *testing.T) {
	cfg := config(t)
	cfg.MaxReaders = 2
	db := open(t, cfg)
	exec(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
	release, reading := make(chan bool), make(chan bool)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			check(t, db.ReadTx(t.Context(), func(*driftdb.Tx) error {
				reading <- true
				<-release
				return nil
			}))
		})
		<-reading
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := driftdb.Select[int64](ctx, db, "SELECT id FROM t")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "all 2") {
		t.Errorf("a third reader: %v", err)
	}
	exec(t, db, "INSERT INTO t DEFAULT VALUES") // who writes waits for no reader
	check(t, db.SQL().QueryRow("SELECT id FROM t").Err())
	close(release)
	if got, err := driftdb.Select[int64](t.Context(), db, "SELECT id FROM t"); err != nil || len(got) != 1 {
		t.Errorf("when they have ended: %v, %v", got, err)
	}
	all.Wait()
}

// TestMemoryConfig: what is out of range is refused with the field's name and its unit.
func TestMemoryConfig(t *testing.T) {
	for want, set := range map[string]func(*driftdb.Config){
		"CacheBytes is 64; it is in bytes":     func(c *driftdb.Config) { c.CacheBytes = 64 },
		"CacheBytes is -1; it is in bytes":     func(c *driftdb.Config) { c.CacheBytes = -1 },
		"CacheBytes is 2199023255552; it is":   func(c *driftdb.Config) { c.CacheBytes = 2 << 40 },
		"MaxReaders is 10001; give 1 to 10000": func(c *driftdb.Config) { c.MaxReaders = 10001 },
	} {
		cfg := driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "app.sqlite")}
		set(&cfg)
		db, err := driftdb.Open(t.Context(), cfg)
		if err == nil {
			db.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
