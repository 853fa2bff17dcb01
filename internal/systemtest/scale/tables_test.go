package scale_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// manyTables makes n tables in one transaction.
func manyTables(t testing.TB, db *driftdb.DB, n int) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *driftdb.Tx) error {
		for i := range n {
			if _, err := tx.Exec(t.Context(), fmt.Sprintf("CREATE TABLE tab_%d(id INTEGER PRIMARY KEY, name TEXT NOT NULL, val REAL, UNIQUE(name))", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// changeSchema changes the schema again and again, as fast as it can, until stop is
// called.
func changeSchema(t testing.TB, db *driftdb.DB) (stop func() (changes int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	changes := 0
	running.Go(func() {
		for ctx.Err() == nil {
			if _, err := db.SQL().ExecContext(t.Context(), "CREATE TABLE busy(a); DROP TABLE busy"); err != nil {
				t.Error(err)
				return
			}
			changes += 2
		}
	})
	return func() int {
		cancel()
		running.Wait()
		return changes
	}
}

// isStored looks into the bucket for the change at sequence. Metrics would tell as well, but
// reads the schema for that, and takes the processor from what is measured.
func isStored(t testing.TB, cfg driftdb.Config, sequence int64) bool {
	bucket := remote.New(cfg.Store, cfg.Name, seal.Options{})
	return slices.ContainsFunc(systemtest.Keys(t, cfg.Store), func(key string) bool {
		b, ok := bucket.ParseBatch(key)
		return ok && b.To >= sequence
	})
}

// TestSchemaNeverStill: while the schema of many tables changes faster than a
// connection can read it, rows can be written, and are in the bucket about as soon as
// ever. "make tables" does it with 10,000 tables.
func TestSchemaNeverStill(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.ManualSync, cfg.SyncInterval = false, 100*time.Millisecond
	var mu sync.Mutex
	var failures []string
	cfg.OnEvent = func(e driftdb.Event) {
		if e.Kind == driftdb.EventSyncFailed || e.Kind == driftdb.EventTidyingFailed {
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, fmt.Sprint(e.Message, e.Attrs))
		}
	}
	db := systemtest.Open(t, cfg)
	tables := 500
	if n, err := strconv.Atoi(os.Getenv("DRIFTDB_TABLES")); err == nil {
		tables = n
	}
	manyTables(t, db, tables)
	systemtest.Check(t, db.Flush(t.Context()))
	stop := changeSchema(t, db)
	for i := range 8 {
		began := time.Now()
		systemtest.Exec(t, db, "INSERT INTO tab_1(name) VALUES(?)", i)
		wrote := time.Now()
		sequence := db.Sequence()
		systemtest.Eventually(t, "the change is in the bucket", func() bool { return isStored(t, cfg, sequence) })
		t.Logf("written in %s, in the bucket %s later", wrote.Sub(began), time.Since(wrote))
	}
	t.Logf("the schema changed %d times", stop())
	mu.Lock()
	defer mu.Unlock()
	if len(failures) > 0 || db.Metrics().SyncErrors > 0 {
		t.Errorf("rounds failed: %.3000q", failures)
	}
}

// BenchmarkTables shows what a table costs among few and many: a row in each of them, a
// snapshot and a restore. It is linear if the figures stay the same. SQLite's own
// CREATE TABLE reads the whole schema, so the tables' making is not among them.
func BenchmarkTables(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				ctx := b.Context()
				cfg := systemtest.Config(b)
				db, err := driftdb.Open(ctx, cfg)
				if err != nil {
					b.Fatal(err)
				}
				manyTables(b, db, n)
				if _, err := db.Snapshot(ctx); err != nil {
					b.Fatal(err)
				}
				each := func(what string, do func() error) {
					began := time.Now()
					if err := do(); err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(time.Since(began).Microseconds())/float64(n), "µs/table-"+what)
				}
				each("row", func() error {
					for i := range n {
						if _, err := db.SQL().ExecContext(ctx, fmt.Sprintf("INSERT INTO tab_%d(name) VALUES('a')", i)); err != nil {
							return err
						}
					}
					return nil
				})
				each("flush", func() error { return db.Flush(ctx) })
				each("restore-log", func() error { return systemtest.RestoreTo(ctx, cfg, filepath.Join(b.TempDir(), "log.sqlite")) })
				each("snapshot", func() error { _, err := db.Snapshot(ctx); return err })
				each("restore-snapshot", func() error { return systemtest.RestoreTo(ctx, cfg, filepath.Join(b.TempDir(), "snapshot.sqlite")) })
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
