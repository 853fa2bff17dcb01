package writers_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestTakeoverWaitSynced lets one machine take over from another whose program waits for
// each change to be in the bucket, and stores batches all the time. All that it was told is
// there belongs to the new one's history, and it is told nothing more once it is fenced. In
// every third round the new one dies half way: then a restore has all of it, and so has
// the one after it.
func TestTakeoverWaitSynced(t *testing.T) {
	rounds, latency := systemtest.Setting(t, "DRIFTDB_TAKEOVERS", 9), time.Duration(systemtest.Setting(t, "DRIFTDB_LATENCY", 4))*time.Millisecond
	total := 0
	for round := range rounds {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			w := newWaiting(t, latency/2)
			far := objstoretest.Break(distant{w.bucket, latency}, nil)
			if round%3 == 2 {
				w.dieHalfWay(t, far)
			}
			next := w.cfg
			next.Path, next.NodeID, next.Store = filepath.Join(t.TempDir(), "next.sqlite"), "next", far
			b := systemtest.Open(t, next)
			systemtest.Exec(t, b, "INSERT INTO t VALUES(-1)")
			w.wantIn(t, rowsOf(t, b), "the new writer")
			total += len(w.safe)
		})
	}
	t.Logf("%d takeovers, %d changes were waited for", rounds, total)
}

// waiting is a program whose goroutines wait for each of their changes, until they are
// told that another writer has taken over.
type waiting struct {
	bucket objstore.Store
	cfg    driftdb.Config
	all    sync.WaitGroup

	mu   sync.Mutex
	safe []int64
}

func newWaiting(t *testing.T, latency time.Duration) *waiting {
	w := &waiting{bucket: objstore.Mem()}
	w.cfg = driftdb.Config{Name: "app", AutoRestore: true, SyncGap: -1, SyncInterval: 20 * time.Millisecond, CloseTimeout: -1}
	old := w.cfg
	old.Path, old.NodeID, old.Store = filepath.Join(t.TempDir(), "old.sqlite"), "old", distant{w.bucket, latency}
	db := systemtest.Open(t, old, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Exec(t, db, "CREATE TABLE t(n INTEGER PRIMARY KEY)")
	systemtest.Check(t, db.WaitSynced(t.Context(), db.Sequence()))
	var n atomic.Int64
	for range 4 {
		w.all.Go(func() {
			for {
				n := n.Add(1)
				if _, err := db.Exec(context.Background(), "INSERT INTO t VALUES(?)", n); err != nil {
					return
				}
				if err := db.WaitSynced(context.Background(), db.Sequence()); err != nil {
					if !errors.Is(err, driftdb.ErrFenced) {
						t.Error(err)
					}
					return
				}
				w.mu.Lock()
				w.safe = append(w.safe, n)
				w.mu.Unlock()
			}
		})
	}
	systemtest.Eventually(t, "changes are safe", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.safe) > 10
	})
	return w
}

// wantIn checks that everything that is safe, when the program has ended, is in rows.
func (w *waiting) wantIn(t *testing.T, rows []int64, who string) {
	t.Helper()
	systemtest.Within(t, "the old writer", w.all.Wait)
	for _, n := range w.safe {
		if !slices.Contains(rows, n) {
			t.Errorf("%s lacks %d of %d changes that are safe; it has %d rows", who, n, len(w.safe), len(rows))
		}
	}
}

// dieHalfWay starts to take the database over, and dies after it has fenced the writer.
func (w *waiting) dieHalfWay(t *testing.T, far objstore.Store) {
	swaps := 0
	faulty := objstoretest.Break(far, func(c objstoretest.Call) objstoretest.Fault {
		if c.Op == objstoretest.Put && c.Key == systemtest.TheManifest {
			swaps++
		}
		if swaps > 1 {
			return objstoretest.Fault{Kind: objstoretest.Fail}
		}
		return objstoretest.Fault{}
	})
	cfg := w.cfg
	cfg.Path, cfg.NodeID, cfg.Store = filepath.Join(t.TempDir(), "half.sqlite"), "half", faulty
	cfg.Retry.MaxRetries = -1
	db, err := driftdb.Open(t.Context(), cfg)
	systemtest.Check(t, err)
	systemtest.Exec(t, db, "INSERT INTO t VALUES(-2)")
	systemtest.Check(t, db.Close())
	if swaps < 2 {
		t.Errorf("it has replaced the manifest %d times", swaps)
	}
	path := filepath.Join(t.TempDir(), "restored.sqlite")
	_, err = driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: "app", Store: w.bucket, Path: path})
	systemtest.Check(t, err)
	restored := systemtest.MustRead(t, driftdb.Config{Name: "app", Path: path})
	w.wantIn(t, rowsOf(t, restored), "a restore")
}

// TestWaitSyncedUntaken: what a session without an epoch has found past the manifest of a
// fenced writer is not safe, because the one that fenced it may have looked before that was
// stored. It is once this session has an epoch, and only then.
func TestWaitSyncedUntaken(t *testing.T) {
	for _, who := range []string{"reopened", "restored"} {
		t.Run(who, func(t *testing.T) {
			ctx, bucket := t.Context(), objstore.Mem()
			cfg := driftdb.Config{
				Name: "app", Path: filepath.Join(t.TempDir(), "old.sqlite"), NodeID: "old", Store: bucket,
				ManualSync: true, SyncGap: -1, CloseTimeout: -1,
			}
			old := systemtest.Open(t, cfg)
			systemtest.Exec(t, old, "CREATE TABLE t(n INTEGER PRIMARY KEY)")
			systemtest.Check(t, old.Flush(ctx))
			third := cfg
			third.ManualSync, third.SyncInterval = false, time.Hour
			if who == "restored" {
				third.Path, third.NodeID, third.AutoRestore = filepath.Join(t.TempDir(), "third.sqlite"), "third", true
			}
			swaps := 0
			next := cfg
			next.Path, next.NodeID, next.AutoRestore = filepath.Join(t.TempDir(), "next.sqlite"), "next", true
			next.Store = objstoretest.Break(bucket, func(c objstoretest.Call) objstoretest.Fault {
				if c.Op != objstoretest.Put || c.Key != systemtest.TheManifest {
					return objstoretest.Fault{}
				}
				if swaps++; swaps == 2 { // the first one fences, this one takes
					systemtest.Exec(t, old, "INSERT INTO t VALUES(1)")
					if err := old.WaitSynced(ctx, old.Sequence()); !errors.Is(err, driftdb.ErrFenced) {
						t.Errorf("the old writer: %v", err)
					}
					systemtest.Check(t, old.Close())
					db := systemtest.Open(t, third)
					if rows := rowsOf(t, db); !slices.Equal(rows, []int64{1}) {
						t.Errorf("%s: %v", who, rows)
					}
					systemtest.Check(t, db.WaitSynced(ctx, db.Sequence()))
				}
				return objstoretest.Fault{}
			})
			db := systemtest.Open(t, next)
			_, _, err := db.CollectGarbage(ctx) // takes over, and is more patient than a first change
			systemtest.Check(t, err)
			if rows := rowsOf(t, db); !slices.Equal(rows, []int64{1}) {
				t.Errorf("the new writer has %v; 1 is safe", rows)
			}
			if swaps < 3 {
				t.Errorf("%d swaps", swaps)
			}
		})
	}
}
