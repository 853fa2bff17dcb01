package backup_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestRoundTrip writes, flushes, loses the disk and gets everything back, as a
// free copy and as the continuation.
func TestRoundTrip(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('one'), ('two'), (x'00ff')")
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	systemtest.Exec(t, db, "DELETE FROM t WHERE id = 1")
	if err := db.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	free := filepath.Join(t.TempDir(), "free.sqlite")
	res, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Path: free, Store: cfg.Store})
	if err != nil {
		t.Fatal(err)
	}
	if res.Sequence != db.Sequence() || res.Rows != 2 || res.Bytes == 0 {
		t.Errorf("result %+v", res)
	}
	dbtest.Equal(t, cfg.Path, free)

	old := db.NodeID()
	cfg.Path, cfg.AutoRestore = filepath.Join(t.TempDir(), "again.sqlite"), true
	db = systemtest.Open(t, cfg)
	dbtest.Equal(t, free, cfg.Path)
	if db.NodeID() == old {
		t.Error("a restored disk has the node id of the lost one")
	}
	if db.Sequence() != res.Sequence {
		t.Errorf("numbers go on after %d, want %d", db.Sequence(), res.Sequence)
	}
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('after')")
	info, err := db.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if info.Sequence != db.Sequence() || info.Size == 0 {
		t.Errorf("snapshot %+v", info)
	}
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('later')")
}

// TestNothingTwice opens the same database again: what is in the bucket is not
// sent again, and a database with nothing to send asks for nothing.
func TestNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		store := objstoretest.Count(cfg.Store)
		cfg.Store, cfg.ManualSync = store, false
		first := systemtest.Open(t, cfg)
		systemtest.Some(t, first, "t", 50)
		time.Sleep(2 * time.Minute) // of fake time: the interval, and the manifest's
		if m := first.Metrics(); m.PendingChanges != 0 || m.ConfirmedSequence != m.LatestSequence || !m.IsRunning || m.LastError != nil {
			t.Errorf("after two minutes: %+v", m)
		}
		if n := store.Tally(objstoretest.Put).Calls; n != 16 {
			t.Errorf("%d PUTs, want 13 to probe a store that is new, a batch, and two manifests: one for the epoch, one to confirm", n)
		}
		store.Reset()
		time.Sleep(time.Minute)
		if n := store.Calls(); n != 0 {
			t.Errorf("an idle minute made %d requests", n)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		before := systemtest.Keys(t, cfg.Store)
		store.Reset()
		second := systemtest.Open(t, cfg)
		time.Sleep(10 * time.Minute)
		if err := second.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := store.Tally(objstoretest.Put).Calls; n != 0 {
			t.Errorf("the second run made %d PUTs", n)
		}
		if after := systemtest.Keys(t, cfg.Store); !slices.Equal(before, after) {
			t.Errorf("the bucket changed: %q, was %q", after, before)
		}
	})
}

// TestSteadyWriting: one PUT per tick, and a manifest a minute.
func TestSteadyWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		store := objstoretest.Count(cfg.Store)
		cfg.Store, cfg.ManualSync = store, false
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 1)
		time.Sleep(6 * time.Second)
		store.Reset()
		for range 120 {
			systemtest.Exec(t, db, "UPDATE t SET v = v || 'x'")
			time.Sleep(time.Second)
		}
		if n := store.Tally(objstoretest.Put).Calls; n < 24 || n > 26 {
			t.Errorf("two minutes of writing made %d PUTs, want 24 batches and 2 manifests at most", n)
		}
		if n := store.Calls(); n > 26 {
			t.Errorf("%d requests in all", n)
		}
	})
}

// TestUnreachable: the database opens and works, sync goes on trying, metrics
// and log tell, and everything is sent once the bucket is back.
func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		store := objstoretest.Break(cfg.Store, objstoretest.From(1, objstoretest.Fault{Kind: objstoretest.Fail}))
		var mu sync.Mutex
		var events []driftdb.Event
		cfg.Store, cfg.ManualSync = store, false
		cfg.OnEvent = func(e driftdb.Event) { mu.Lock(); defer mu.Unlock(); events = append(events, e) }
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 3)
		time.Sleep(5 * time.Minute)
		m := db.Metrics()
		if m.PendingChanges != 4 || m.SyncErrors < 3 || !errors.Is(m.LastError, objstoretest.ErrInjected) || m.Requests == 0 {
			t.Errorf("while the bucket is away: %+v", m)
		}
		mu.Lock()
		warned := slices.ContainsFunc(events, func(e driftdb.Event) bool { return e.Level == slog.LevelWarn && e.Kind == driftdb.EventSyncFailed })
		mu.Unlock()
		if !warned {
			t.Error("no event tells of the failures")
		}
		store.SetHook(nil)
		time.Sleep(5 * time.Minute)
		mu.Lock()
		recovered := slices.ContainsFunc(events, func(e driftdb.Event) bool { return e.Kind == driftdb.EventSyncRecovered })
		mu.Unlock()
		if m := db.Metrics(); m.PendingChanges != 0 || m.LastError != nil || m.ConfirmedSequence != 4 || !recovered {
			t.Errorf("after it came back: %+v", m)
		}
	})
}

// TestEveryFault lets each request of a scenario go wrong in turn, closes the
// database as it is, opens it again with a bucket that works, and compares.
func TestEveryFault(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 3
	}
	for _, kind := range []objstoretest.Kind{objstoretest.Fail, objstoretest.Lose} {
		for _, lasting := range []bool{false, true} {
			for n := 1; ; n += step {
				fault := objstoretest.On(n, objstoretest.Fault{Kind: kind})
				if lasting {
					fault = objstoretest.From(n, objstoretest.Fault{Kind: kind})
				}
				calls := 0
				ok := t.Run(fmt.Sprintf("kind %d, lasting %v, call %d", kind, lasting, n), func(t *testing.T) {
					calls = faultyRun(t, fault)
				})
				if !ok || calls < n {
					break
				}
			}
		}
	}
}

// faultyRun is the scenario; it returns how many requests it made.
func faultyRun(t *testing.T, hook objstoretest.Hook) int {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	inner := cfg.Store
	store := objstoretest.Break(inner, hook)
	cfg.Store, cfg.Retry.MaxRetries, cfg.MaxBatchSize = store, -1, 3
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	systemtest.Some(t, db, "t", 5)
	var confirmed int64
	note := func(err error) {
		if err == nil {
			confirmed = db.Sequence()
		} else if !errors.Is(err, objstoretest.ErrInjected) {
			t.Errorf("an error that was not injected: %v", err)
		}
	}
	note(db.Flush(ctx))
	systemtest.Exec(t, db, "UPDATE t SET v = 'changed'")
	_, err = db.Snapshot(ctx)
	note(err)
	systemtest.Some(t, db, "u", 4)
	note(db.Flush(ctx))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	calls := store.Calls()
	if confirmed > 0 {
		res, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Path: filepath.Join(t.TempDir(), "early.sqlite"), Store: inner})
		if err != nil || res.Sequence < confirmed {
			t.Errorf("restored up to %d, but %d was confirmed (%v)", res.Sequence, confirmed, err)
		}
	}
	cfg.Store = inner
	db = systemtest.Open(t, cfg) // compares at the end
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('after')")
	return calls
}

// TestTakeover: a second machine takes the name over; the first one is told,
// and its data is neither lost nor mixed in.
func TestTakeover(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Some(t, first, "t", 3)
	if err := first.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	other := cfg
	other.Path, other.AutoRestore = filepath.Join(t.TempDir(), "b.sqlite"), true
	second := systemtest.Open(t, other)
	systemtest.Exec(t, second, "INSERT INTO t(v) VALUES('second')")
	if err := second.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	systemtest.Exec(t, first, "INSERT INTO t(v) VALUES('first, not sent')")
	if err := first.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatalf("flush of the one that lost: %v", err)
	}
	if _, err := first.Exec(ctx, "INSERT INTO t(v) VALUES('x')"); !errors.Is(err, driftdb.ErrFenced) {
		t.Errorf("a write after that: %v", err)
	}
	if m := first.Metrics(); !m.Fenced || !errors.Is(m.LastError, driftdb.ErrFenced) {
		t.Errorf("metrics: %+v", m)
	}
	if n := systemtest.Count(t, first, "t"); n != 4 {
		t.Errorf("the file of the one that lost has %d rows, want all 4", n)
	}
}

// TestOldDisk: a copy of the disk from before the last changes must not
// overwrite them.
func TestOldDisk(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	if err := db.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "old.sqlite")
	data, err := os.ReadFile(cfg.Path)
	if err == nil {
		err = os.WriteFile(old, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	db = systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	before := systemtest.Keys(t, cfg.Store)
	stale := cfg
	stale.Path = old
	back, err := driftdb.Open(ctx, stale)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	systemtest.Exec(t, back, "INSERT INTO t(v) VALUES('on the old disk')")
	if err := back.Flush(ctx); !errors.Is(err, driftdb.ErrDiverged) {
		t.Fatalf("flush of the old disk: %v", err)
	}
	if after := systemtest.Keys(t, cfg.Store); !slices.Equal(before, after) {
		t.Errorf("the old disk changed the bucket: %q", after)
	}
	if err := driftdb.Detach(old); !errors.Is(err, driftdb.ErrLocked) {
		t.Errorf("Detach of an open file: %v", err)
	}
	stale.ManualSync = false
	back.Close()
	if _, err := driftdb.Open(ctx, stale); !errors.Is(err, driftdb.ErrDiverged) {
		t.Fatalf("open of the old disk, with the bucket at hand: %v", err)
	}
	plain, err := sql.Open("sqlite", old)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Exec("SELECT * FROM t"); err != nil {
		t.Fatal(err)
	}
	if err := driftdb.Detach(old); !errors.Is(err, driftdb.ErrLocked) {
		t.Errorf("Detach of a file that another program has open: %v", err)
	}
	plain.Close()
	// The way out: the old disk begins a history of its own.
	if err := driftdb.Detach(old); err != nil {
		t.Fatal(err)
	}
	stale.Name, stale.ManualSync = "branch", true
	branch := systemtest.Open(t, stale) // compares at the end
	if n := systemtest.Count(t, branch, "t"); n != 4 {
		t.Errorf("%d rows, want the 3 of the old disk and the one written there", n)
	}
}

// TestFlushCatchesUp: an old disk whose owner has nothing to send, and syncs by hand, is told
// that it is old, and a Flush brings it up to date.
func TestFlushCatchesUp(t *testing.T) {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, errors.Join(db.Flush(t.Context()), db.Close()))
	stale := systemtest.CopyClosed(t, cfg)
	db = systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, errors.Join(db.Flush(t.Context()), db.Close()))

	events := systemtest.Listen(&stale)
	back := systemtest.Open(t, stale)
	events.Wait(t, driftdb.EventBucketAhead)
	systemtest.Check(t, back.Flush(t.Context()))
	dbtest.Equal(t, cfg.Path, stale.Path)
	if back.Metrics().Behind {
		t.Error("the bucket is ahead after Flush")
	}
}

// TestAdopt: a file that DriftDB has never seen is in the bucket as a snapshot
// before anything else.
func TestAdopt(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	free := systemtest.Config(t)
	made := systemtest.Open(t, free)
	systemtest.Some(t, made, "old", 10)
	if err := made.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Path: cfg.Path, Store: free.Store}); err != nil {
		t.Fatal(err)
	}
	cfg.Name = "another"
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "DELETE FROM old WHERE id < 4")
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(systemtest.Keys(t, cfg.Store), func(k string) bool { return strings.HasSuffix(k, ".sqlite") }) {
		t.Errorf("no snapshot: %q", systemtest.Keys(t, cfg.Store))
	}
}

// TestVacuum: what renumbers rows leads to a snapshot.
func TestVacuum(t *testing.T) {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE n(v)")
	for i := range 20 {
		systemtest.Exec(t, db, "INSERT INTO n VALUES(?)", i)
	}
	systemtest.Exec(t, db, "DELETE FROM n WHERE v % 2 = 0")
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Vacuum(t.Context()); err != nil {
		t.Fatal(err)
	}
	systemtest.Exec(t, db, "UPDATE n SET v = -v WHERE rowid = 3")
}

// TestMemory: ":memory:" syncs, and leaves nothing behind.
func TestMemory(t *testing.T) {
	ctx := t.Context()
	t.Setenv("TMPDIR", t.TempDir())
	cfg := driftdb.Config{Name: "mem", Path: ":memory:", Store: objstore.Mem(), ManualSync: true, AutoRestore: true}
	db := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrClosed))
	systemtest.Some(t, db, "t", 3)
	if err := db.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(os.TempDir()); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	db = systemtest.Open(t, cfg) // compares at the end
	if n := systemtest.Count(t, db, "t"); n != 3 {
		t.Errorf("%d rows came back, want 3", n)
	}
}

// TestEncrypted: nothing readable leaves the machine, and only the right key
// brings it back.
func TestEncrypted(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	key := systemtest.KeyOf("5e")
	cfg.EncryptionKeys = []string{key}
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "secrets", 3)
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]string{nil, {systemtest.KeyOf("6f")}} {
		_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Path: filepath.Join(t.TempDir(), "x"), Store: cfg.Store, EncryptionKeys: keys})
		if !errors.Is(err, driftdb.ErrKey) {
			t.Errorf("with %d other keys: %v", len(keys), err)
		}
		if err != nil && strings.Contains(err.Error(), key) {
			t.Error("the error tells the key")
		}
	}
}

// TestWriteUnderLoad: many writers, readers and the engine at once.
func TestWriteUnderLoad(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.ManualSync, cfg.SyncInterval, cfg.SnapshotEvery = false, time.Millisecond, 50
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				var err error
				switch {
				case w < 3:
					_, err = db.Exec(context.Background(), "INSERT INTO t(v) VALUES(?)", fmt.Sprint(w, i))
				case w < 6:
					_, err = db.SQL().Exec("INSERT INTO t(v) VALUES(?)", fmt.Sprint(w, i))
				default:
					_, err = driftdb.Select[int64](context.Background(), db, "SELECT count(*) FROM t")
				}
				if err != nil {
					t.Error(w, err)
				}
			}
		})
	}
	wg.Wait()
	if n := systemtest.Count(t, db, "t"); n != 301 {
		t.Errorf("%d rows, want 301", n)
	}
}

// TestCloseInterruptsFlush: Close waits for nobody's network.
func TestCloseInterruptsFlush(t *testing.T) {
	cfg := systemtest.Config(t)
	hanging := make(chan struct{})
	var once sync.Once
	cfg.Store = objstoretest.Break(cfg.Store, func(objstoretest.Call) objstoretest.Fault {
		once.Do(func() { close(hanging) })
		return objstoretest.Fault{Delay: time.Hour}
	})
	db, err := driftdb.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	systemtest.Some(t, db, "t", 1)
	flushed := make(chan error, 1)
	go func() { flushed <- db.Flush(context.Background()) }()
	<-hanging
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := <-flushed; !errors.Is(err, driftdb.ErrClosed) {
		t.Errorf("the flush that was interrupted: %v", err)
	}
	if err := db.Flush(t.Context()); !errors.Is(err, driftdb.ErrClosed) {
		t.Errorf("a flush after Close: %v", err)
	}
}
