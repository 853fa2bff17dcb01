package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// ends returns where the batches in a store end: their last changes, in order.
func ends(t testing.TB, store objstore.Store) (last []int64) {
	t.Helper()
	for _, key := range systemtest.Batches(t, store) {
		_, to := span(t, key)
		last = append(last, to)
	}
	slices.Sort(last)
	return last
}

// span returns the first and the last change of a batch.
func span(t testing.TB, key string) (from, to int64) {
	t.Helper()
	_, err := fmt.Sscanf(key[strings.LastIndex(key, "/")+1:], "%d-%d.", &from, &to)
	systemtest.Check(t, err)
	return from, to
}

// courier is a database on a store of which every request takes 20 ms, and the times at
// which batches and manifests were stored.
type courier struct {
	*driftdb.DB
	inner objstore.Store
	cfg   driftdb.Config

	mu               sync.Mutex
	batches, swapped []time.Time
	last             int64
}

const request = 20 * time.Millisecond

func newCourier(t *testing.T, set func(*driftdb.Config)) *courier {
	t.Helper()
	c := &courier{cfg: systemtest.Config(t)}
	c.inner = c.cfg.Store
	c.cfg.Store = objstoretest.Break(c.inner, func(call objstoretest.Call) objstoretest.Fault {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case call.Op != objstoretest.Put:
		case strings.Contains(call.Key, "/logs/"):
			from, to := span(t, call.Key)
			if from > c.last { // else it is a merged one
				c.batches, c.last = append(c.batches, time.Now()), to
			}
		case call.Key == systemtest.TheManifest:
			c.swapped = append(c.swapped, time.Now())
		}
		return objstoretest.Fault{Delay: request}
	})
	c.cfg.ManualSync, c.cfg.SnapshotEvery = false, -1
	if set != nil {
		set(&c.cfg)
	}
	c.DB = systemtest.Open(t, c.cfg)
	systemtest.Exec(t, c.DB, "CREATE TABLE t(v)")
	systemtest.Check(t, c.WaitSynced(t.Context(), c.Sequence()))
	return c
}

// since returns what was stored since the last call.
func (c *courier) since() (batches, swapped []time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	batches, swapped, c.batches, c.swapped = c.batches, c.swapped, nil, nil
	return batches, swapped
}

// TestWaitSyncedAtOnce: after a quiet time, a change is in the bucket after two requests:
// its batch, and a look at the manifest, which is not replaced.
func TestWaitSyncedAtOnce(t *testing.T) {
	for _, manual := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCourier(t, func(cfg *driftdb.Config) { cfg.ManualSync = manual })
			for range 3 {
				time.Sleep(time.Second)
				c.since()
				systemtest.Exec(t, c.DB, "INSERT INTO t VALUES('x')")
				began := time.Now()
				systemtest.Check(t, c.WaitSynced(t.Context(), c.Sequence()))
				if took := time.Since(began); took != 2*request {
					t.Errorf("took %s, which is not two requests", took)
				}
				if last := ends(t, c.inner); last[len(last)-1] != c.Sequence() {
					t.Errorf("the bucket has changes up to %d of %d", last[len(last)-1], c.Sequence())
				}
				if batches, swapped := c.since(); len(batches) != 1 || len(swapped) != 0 {
					t.Errorf("%d batches and %d manifests", len(batches), len(swapped))
				}
				began = time.Now()
				if err := c.WaitSynced(t.Context(), c.Sequence()); err != nil || time.Since(began) != 0 {
					t.Errorf("once more: %v after %s", err, time.Since(began))
				}
			}
		})
	}
}

// TestWaitSyncedShares: however many calls wait, uploads for them are SyncGap apart, each
// carries what came meanwhile, and the manifest is replaced no more often than without
// them. Neither that nor merging and deleting what they leave holds them up.
func TestWaitSyncedShares(t *testing.T) {
	const goroutines = 20
	for _, c := range []struct {
		name                     string
		gap, apart, every, lasts time.Duration
	}{
		{"default", 0, 100 * time.Millisecond, 5 * time.Second, 100 * time.Second},
		{"a second", time.Second, time.Second, time.Hour, 3 * time.Minute},
		{"none", -1, 2 * request, time.Hour, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := newCourier(t, func(cfg *driftdb.Config) { cfg.SyncGap, cfg.SyncInterval = c.gap, c.every })
				time.Sleep(time.Minute)
				db.since()
				var calls sync.WaitGroup
				for g := range goroutines {
					calls.Go(func() {
						time.Sleep(time.Duration(g) * 7 * time.Millisecond)
						for began := time.Now(); time.Since(began) < c.lasts; {
							systemtest.Exec(t, db.DB, "INSERT INTO t VALUES(?)", g)
							seq, asked := db.Sequence(), time.Now()
							systemtest.Check(t, db.WaitSynced(t.Context(), seq))
							if took := time.Since(asked); took > c.apart+5*request {
								t.Errorf("a call took %s", took)
							}
							time.Sleep(time.Duration(g) * 7 * time.Millisecond)
						}
					})
				}
				calls.Wait()
				batches, swapped := db.since()
				for i := 1; i < len(batches) && c.every == time.Hour; i++ { // else the interval's are among them
					if d := batches[i].Sub(batches[i-1]); d < c.apart {
						t.Errorf("two uploads are %s apart", d)
					}
				}
				if n, most := len(batches), int(c.lasts/c.apart+c.lasts/c.every)+2; n > most || n < most/2 {
					t.Errorf("%d uploads in %s; want half of %d to all", n, c.lasts, most)
				}
				if n := len(swapped); n > 1+int(c.lasts/time.Minute) {
					t.Errorf("%d manifests in %s", n, c.lasts)
				}
			})
		})
	}
}

// TestWaitSyncedBarrier: a change after a barrier is safe once the snapshot is stored, and
// not before: until then, a restore does not have it. It takes no Flush and no loop.
func TestWaitSyncedBarrier(t *testing.T) {
	for _, manual := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			cfg, store, letThrough := held(t)
			cfg.ManualSync = manual
			db := systemtest.Open(t, cfg)
			systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
			systemtest.Check(t, db.WaitSynced(t.Context(), db.Sequence()))
			before := db.Sequence()
			systemtest.Check(t, db.Vacuum(t.Context()))
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('after')")
			returned := false
			done := systemtest.InGoroutine(func() error {
				err := db.WaitSynced(t.Context(), db.Sequence())
				returned = true
				return err
			})
			time.Sleep(time.Minute)
			synctest.Wait()
			if returned || store.attempts.Load() != 1 {
				t.Errorf("returned: %v; %d snapshots began", returned, store.attempts.Load())
			}
			if at := restored(t, cfg); at != before {
				t.Errorf("without the snapshot, a restore has %d; want %d", at, before)
			}
			letThrough()
			systemtest.Check(t, <-done)
			if at := restored(t, cfg); at != db.Sequence() {
				t.Errorf("with the snapshot, a restore has %d; want %d", at, db.Sequence())
			}
		})
	}
}

// restored returns the last change that a restore has.
func restored(t testing.TB, cfg driftdb.Config) int64 {
	t.Helper()
	res, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: filepath.Join(t.TempDir(), "restored.sqlite")})
	systemtest.Check(t, err)
	return res.Sequence
}

// TestWaitSyncedRefused: where a call cannot succeed, its error says why.
func TestWaitSyncedRefused(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	systemtest.Check(t, db.WaitSynced(ctx, 0))
	for _, number := range []int64{-1, 2} {
		if err := db.WaitSynced(ctx, number); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("there is no change %d; the latest is 1", number)) {
			t.Errorf("%d: %v", number, err)
		}
	}
	err := db.Tx(ctx, func(*driftdb.Tx) error { return db.WaitSynced(ctx, 1) })
	if err == nil || !strings.Contains(err.Error(), "WaitSynced in the function of a Tx") {
		t.Errorf("in a Tx: %v", err)
	}
	systemtest.Check(t, db.WaitSynced(ctx, 1))
	if err := systemtest.MustRead(t, cfg).WaitSynced(ctx, 1); !errors.Is(err, driftdb.ErrReadOnly) {
		t.Errorf("read-only: %v", err)
	}
	alone := systemtest.Open(t, driftdb.Config{Name: "app", Path: ":memory:"})
	if err := alone.WaitSynced(ctx, 0); !errors.Is(err, driftdb.ErrNoStore) {
		t.Errorf("without a store: %v", err)
	}
	systemtest.Check(t, db.Close())
	if err := db.WaitSynced(ctx, 1); !errors.Is(err, driftdb.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	cfg.SyncGap = 2 * time.Minute
	if err := systemtest.OpenError(t, cfg); !strings.Contains(err.Error(), "SyncGap is 2m0s; give a duration up to 1m0s") {
		t.Error(err)
	}
}

// TestWaitSyncedAway: while the bucket cannot be reached, calls wait; where the context
// ends first, the error has both reasons. When the bucket is back, they are served.
func TestWaitSyncedAway(t *testing.T) {
	for _, retries := range []int{0, -1} { // the default, and none
		synctest.Test(t, func(t *testing.T) {
			cfg := systemtest.Config(t)
			faulty := objstoretest.Break(cfg.Store, nil)
			cfg.Store, cfg.Retry.MaxRetries = faulty, retries
			db := systemtest.Open(t, cfg)
			systemtest.Exec(t, db, "CREATE TABLE t(v)")
			systemtest.Check(t, db.WaitSynced(t.Context(), db.Sequence()))
			faulty.SetHook(objstoretest.From(1, objstoretest.Fault{Kind: objstoretest.Fail}))
			systemtest.Exec(t, db, "INSERT INTO t VALUES(1)")
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			err := db.WaitSynced(ctx, db.Sequence())
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, objstoretest.ErrInjected) || !strings.Contains(err.Error(), "change 2 ") {
				t.Error(err)
			}
			done := systemtest.InGoroutine(func() error { return db.WaitSynced(t.Context(), db.Sequence()) })
			time.Sleep(5 * time.Minute)
			faulty.SetHook(nil)
			systemtest.Check(t, <-done)
			if at := restored(t, cfg); at != 2 {
				t.Errorf("a restore has %d", at)
			}
		})
	}
}

// TestWaitSyncedEmptied: what was in a bucket that somebody has emptied is not in it, until
// it is sent again.
func TestWaitSyncedEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		inner := cfg.Store
		faulty := objstoretest.Break(inner, nil)
		cfg.Store, cfg.Retry.MaxRetries = faulty, -1
		db := systemtest.Open(t, cfg)
		systemtest.Exec(t, db, "CREATE TABLE t(v)")
		systemtest.Check(t, db.Flush(t.Context()))
		systemtest.Exec(t, db, "INSERT INTO t VALUES(1)")
		systemtest.Check(t, db.WaitSynced(t.Context(), 2))
		for _, key := range systemtest.Keys(t, inner) {
			systemtest.Check(t, inner.Delete(t.Context(), key))
		}
		systemtest.Exec(t, db, "INSERT INTO t VALUES(2)")
		reads := 0
		faulty.SetHook(func(c objstoretest.Call) objstoretest.Fault {
			if c.Op == objstoretest.Get && c.Key == systemtest.TheManifest {
				reads++
			}
			if reads > 2 { // it has noticed
				return objstoretest.Fault{Kind: objstoretest.Fail}
			}
			return objstoretest.Fault{}
		})
		for _, number := range []int64{3, 2} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := db.WaitSynced(ctx, number); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%d: %v", number, err)
			}
		}
		faulty.SetHook(nil)
		systemtest.Check(t, db.WaitSynced(t.Context(), 3))
		if at := restored(t, cfg); at != 3 {
			t.Errorf("a restore has %d", at)
		}
	})
}

// TestWaitSyncedDenied: a bucket that refuses is an error at once.
func TestWaitSyncedDenied(t *testing.T) {
	cfg := systemtest.Config(t)
	faulty := objstoretest.Break(cfg.Store, nil)
	cfg.Store = faulty
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	faulty.SetHook(func(objstoretest.Call) objstoretest.Fault {
		return objstoretest.Fault{Kind: objstoretest.Fail, Err: fs.ErrPermission}
	})
	if err := db.WaitSynced(t.Context(), 1); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	faulty.SetHook(nil)
	systemtest.Check(t, db.WaitSynced(t.Context(), 1))
}

// TestWaitSyncedFenced: who has lost the database learns it from the call, although nothing
// else has told it yet, and its change is not in the history.
func TestWaitSyncedFenced(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	systemtest.Check(t, db.WaitSynced(ctx, 1))
	next := cfg
	next.Path, next.AutoRestore = filepath.Join(t.TempDir(), "next.sqlite"), true
	successor := systemtest.Open(t, next)
	systemtest.Exec(t, successor, "INSERT INTO t VALUES('theirs')")
	systemtest.Check(t, successor.WaitSynced(ctx, successor.Sequence()))
	systemtest.Exec(t, db, "INSERT INTO t VALUES('ours')")
	for range 2 {
		if err := db.WaitSynced(ctx, db.Sequence()); !errors.Is(err, driftdb.ErrFenced) {
			t.Error(err)
		}
	}
	systemtest.Check(t, db.WaitSynced(ctx, 1))
}

// TestWaitSyncedClose: Close serves those who wait with what it sends, and tells the
// others.
func TestWaitSyncedClose(t *testing.T) {
	for _, manual := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCourier(t, func(cfg *driftdb.Config) { cfg.SyncGap = time.Minute })
			if manual {
				c.StopSync()
			}
			systemtest.Exec(t, c.DB, "INSERT INTO t VALUES(1)")
			done := systemtest.InGoroutine(func() error { return c.WaitSynced(t.Context(), c.Sequence()) })
			time.Sleep(time.Second) // the gap is not over
			systemtest.Check(t, c.Close())
			if err := <-done; manual != errors.Is(err, driftdb.ErrClosed) || !manual && err != nil {
				t.Errorf("manual %v: %v", manual, err)
			}
		})
	}
}

// TestWaitSyncedOther: what another call sends serves those who wait.
func TestWaitSyncedOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCourier(t, func(cfg *driftdb.Config) { cfg.SyncGap = time.Minute })
		systemtest.Exec(t, c.DB, "INSERT INTO t VALUES(1)")
		began := time.Now()
		done := systemtest.InGoroutine(func() error { return c.WaitSynced(t.Context(), c.Sequence()) })
		synctest.Wait()
		systemtest.Check(t, c.Flush(t.Context()))
		systemtest.Check(t, <-done)
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// TestWaitSyncedTx: the number of a transaction is that of its last change.
func TestWaitSyncedTx(t *testing.T) {
	ctx := t.Context()
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	var last *driftdb.Tx
	systemtest.Check(t, db.Tx(ctx, func(tx *driftdb.Tx) error {
		last = tx
		_, err := tx.Exec(ctx, "INSERT INTO t VALUES(1), (2), (3)")
		if tx.Sequence() != 0 {
			t.Errorf("before the commit: %d", tx.Sequence())
		}
		return err
	}))
	systemtest.Exec(t, db, "INSERT INTO t VALUES(4)")
	if last.Sequence() != 4 {
		t.Errorf("%d; want 4, of %d", last.Sequence(), db.Sequence())
	}
	systemtest.Check(t, db.WaitSynced(ctx, last.Sequence()))
	failed := errors.New("no")
	if err := db.Tx(ctx, func(tx *driftdb.Tx) error {
		last = tx
		_, err := tx.Exec(ctx, "INSERT INTO t VALUES(5)")
		return errors.Join(err, failed)
	}); !errors.Is(err, failed) || last.Sequence() != 0 {
		t.Errorf("rolled back: %d, %v", last.Sequence(), err)
	}
}

// TestWaitSyncedRenewed: a session that must go on under another epoch while a barrier waits
// for its snapshot keeps in the history what it has vouched for.
func TestWaitSyncedRenewed(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.NodeID, cfg.MaxBatchSize, cfg.Retry.MaxRetries = "n", 1, -1
	faulty := objstoretest.Break(cfg.Store, func(c objstoretest.Call) objstoretest.Fault {
		if c.Op == objstoretest.Put && strings.Contains(c.Key, "/snapshots/") {
			return objstoretest.Fault{Kind: objstoretest.Fail}
		}
		return objstoretest.Fault{}
	})
	cfg.Store = faulty
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	systemtest.Check(t, db.WaitSynced(ctx, 1))
	systemtest.Exec(t, db, "INSERT INTO t VALUES('safe')")
	systemtest.Check(t, db.WaitSynced(ctx, 2))
	intruder{t, cfg.Store}.put("000000000004-000000000004.e1.json", []byte("junkjunkjunk"))
	systemtest.Check(t, db.Vacuum(ctx)) // 3
	systemtest.Exec(t, db, "INSERT INTO t VALUES('not yet')")
	faulty.SetHook(func(c objstoretest.Call) objstoretest.Fault {
		if c.Op == objstoretest.Put && strings.Contains(c.Key, "/logs/") && !strings.Contains(c.Key, ".e1.") {
			return objstoretest.Fault{Kind: objstoretest.Fail} // nothing is sent again
		}
		return objstoretest.Fault{}
	})
	if err := db.Flush(ctx); !errors.Is(err, objstoretest.ErrInjected) {
		t.Error(err)
	}
	if at := restored(t, cfg); at != 2 {
		t.Errorf("a restore has %d, of 2 that are safe", at)
	}
	faulty.SetHook(nil)
}

// TestWaitSyncedLate: while a swap to another epoch may still arrive, which would end the
// span of this one, a change is safe only with another swap.
func TestWaitSyncedLate(t *testing.T) {
	ctx := t.Context()
	db, cfg, store := lateSwap(t)
	inner := store.Store
	systemtest.Check(t, db.WaitSynced(ctx, 3))
	if _, err := inner.Put(ctx, systemtest.TheManifest, bytes.NewReader(store.body), store.opts); !errors.Is(err, objstore.ErrPrecondition) {
		t.Errorf("the late swap: %v", err)
	}
	if at := restored(t, cfg); at != 3 {
		t.Errorf("a restore has %d, of 3 that are safe", at)
	}
}
