package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// snapshotStore lets a test meddle with the storing of snapshots, and leaves everything
// else alone.
type snapshotStore struct {
	objstore.Store
	attempts atomic.Int64
	// meddle is called before a snapshot is stored; what it returns is stored.
	meddle func(ctx context.Context, body io.Reader) (io.Reader, error)
}

func (s *snapshotStore) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	if strings.Contains(key, "/snapshots/") {
		s.attempts.Add(1)
		var err error
		if body, err = s.meddle(ctx, body); err != nil {
			return objstore.Info{}, err
		}
	}
	return s.Store.Put(ctx, key, body, opts)
}

// hold makes every snapshot wait until it is let through, or its context ends.
func (s *snapshotStore) hold() (letThrough func()) {
	gate := make(chan struct{})
	s.meddle = func(ctx context.Context, body io.Reader) (io.Reader, error) {
		select {
		case <-gate:
			return body, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return func() { close(gate) }
}

// slowBody gives a body at a rate of bytes a second.
type slowBody struct {
	ctx  context.Context
	body io.Reader
	rate int
}

func (b slowBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p[:min(len(p), b.rate)])
	select {
	case <-time.After(time.Duration(n) * time.Second / time.Duration(b.rate)):
		return n, err
	case <-b.ctx.Done():
		return n, b.ctx.Err()
	}
}

// held is a database that syncs in the background, and whose snapshots are held.
func held(t *testing.T) (cfg driftdb.Config, store *snapshotStore, letThrough func()) {
	cfg = systemtest.Config(t)
	store = &snapshotStore{Store: cfg.Store}
	letThrough = store.hold()
	cfg.Store, cfg.ManualSync = store, false
	return cfg, store, letThrough
}

// promptly writes a row and checks that it is in the bucket within SyncInterval and a
// little more.
func promptly(t *testing.T, db *driftdb.DB) {
	t.Helper()
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('meanwhile')")
	time.Sleep(5*time.Second + 2*time.Second)
	if m := db.Metrics(); m.PendingChanges != 0 || m.OldestPendingAge != 0 {
		t.Fatalf("after SyncInterval + 2 s, %d changes of the last %s are not in the bucket", m.PendingChanges, m.OldestPendingAge)
	}
}

// inTheBackground calls Snapshot, which is waited for when the test ends.
func inTheBackground(ctx context.Context, db *driftdb.DB) (result func() (driftdb.SnapshotInfo, error)) {
	var info driftdb.SnapshotInfo
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		info, err = db.Snapshot(ctx)
	}()
	return func() (driftdb.SnapshotInfo, error) { <-done; return info, err }
}

// left is what lies beside a closed or idle database that a snapshot has made.
func left(t *testing.T, cfg driftdb.Config) []string {
	t.Helper()
	found, err := filepath.Glob(cfg.Path + "-driftdb*")
	systemtest.Check(t, err)
	return found
}

// TestSlowSnapshot: while a snapshot is uploaded over a slow line for hours, changes
// are in the bucket as soon as ever. The snapshot is named when it is stored, and the
// log that has waited for it is trimmed.
func TestSlowSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, store, _ := held(t)
		store.meddle = func(ctx context.Context, body io.Reader) (io.Reader, error) {
			return slowBody{ctx, body, 100}, nil
		}
		db := systemtest.Open(t, cfg)
		systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t(v) VALUES(randomblob(200000))")
		before, rounds := db.Sequence(), 0
		result := inTheBackground(t.Context(), db)
		synctest.Wait()
		for ; db.Metrics().LastSnapshotAt.IsZero(); rounds++ {
			promptly(t, db)
		}
		info, err := result()
		systemtest.Check(t, err)
		if rounds < 200 || info.Sequence != before {
			t.Errorf("%d changes were committed meanwhile; the snapshot is at %d", rounds, info.Sequence)
		}
		promptly(t, db)
		systemtest.Check(t, db.Flush(t.Context()))
		m := db.Metrics()
		if m.ConfirmedSequence != m.LatestSequence || m.LogSizeBytes > 200 {
			t.Errorf("%d of %d are confirmed, the log has %d bytes", m.ConfirmedSequence, m.LatestSequence, m.LogSizeBytes)
		}
	})
}

// TestHungSnapshot: an upload that never ends holds up nothing, and Close ends it. The
// changes are in the bucket, and nothing is left behind.
func TestHungSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, store, _ := held(t)
		cfg.SnapshotEvery = 2
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 10)
		time.Sleep(10 * time.Second)
		for range 100 {
			promptly(t, db)
		}
		systemtest.Check(t, db.Flush(t.Context())) // which does not wait for a snapshot of the background
		if n := store.attempts.Load(); n != 1 || len(left(t, cfg)) == 0 {
			t.Errorf("%d attempts; beside the database are %q", n, left(t, cfg))
		}
		began := time.Now()
		systemtest.Check(t, db.Close())
		if d := time.Since(began); d > time.Second || len(left(t, cfg)) > 0 {
			t.Errorf("Close took %s and left %q", d, left(t, cfg))
		}
		store.meddle = func(_ context.Context, body io.Reader) (io.Reader, error) { return body, nil }
	})
}

// TestStopSyncInSnapshot: StopSync ends the upload that the background has begun, and
// no other one.
func TestStopSyncInSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, store, letThrough := held(t)
		cfg.SnapshotEvery = 2
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 10)
		time.Sleep(time.Minute)
		db.StopSync()
		if n := store.attempts.Load(); n != 1 || len(left(t, cfg)) > 0 {
			t.Errorf("%d attempts; left is %q", n, left(t, cfg))
		}
		result := inTheBackground(t.Context(), db)
		db.StartSync()
		time.Sleep(time.Minute)
		db.StopSync()
		letThrough()
		if _, err := result(); err != nil {
			t.Error(err)
		}
	})
}

// TestSnapshotIsGivenUp: when nobody waits for a snapshot any more, its upload ends.
// Whoever joined it later gets one all the same.
func TestSnapshotIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, store, letThrough := held(t)
		cfg.ManualSync = true
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 3)
		ctx, cancel := context.WithCancel(t.Context())
		first := inTheBackground(ctx, db)
		synctest.Wait()
		second := inTheBackground(t.Context(), db)
		synctest.Wait()
		if n := store.attempts.Load(); n != 1 {
			t.Errorf("%d uploads at a time", n)
		}
		cancel()
		if _, err := first(); !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
		letThrough()
		if info, err := second(); err != nil || info.Sequence != 4 || store.attempts.Load() != 2 {
			t.Errorf("%+v, %v, %d attempts", info, err, store.attempts.Load())
		}
		if m := db.Metrics(); m.SyncErrors != 0 || len(left(t, cfg)) > 0 {
			t.Errorf("%d errors; left is %q", m.SyncErrors, left(t, cfg))
		}
	})
}

// TestTwoSnapshots: a snapshot that others have begun counts for whoever has committed
// nothing since, and for nobody else.
func TestTwoSnapshots(t *testing.T) {
	for _, more := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			cfg, _, letThrough := held(t)
			db := systemtest.Open(t, cfg)
			systemtest.Some(t, db, "t", 3)
			first := inTheBackground(t.Context(), db)
			synctest.Wait()
			if more {
				systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('since')")
			}
			second := inTheBackground(t.Context(), db)
			synctest.Wait()
			letThrough()
			one, err := first()
			systemtest.Check(t, err)
			two, err := second()
			systemtest.Check(t, err)
			if (one.Key == two.Key) == more || two.Sequence != db.Sequence() {
				t.Errorf("the first is %+v, the second %+v; the last change is %d", one, two, db.Sequence())
			}
		})
	}
}

// TestBarrierInSnapshot: a barrier that comes while a snapshot is uploaded needs another
// one. Until that is stored, the manifest confirms what can be restored without it.
func TestBarrierInSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cfg, store, letThrough := held(t)
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 3)
		first := inTheBackground(ctx, db)
		synctest.Wait()
		promptly(t, db)
		before := db.Sequence()
		systemtest.Check(t, db.Vacuum(ctx))
		promptly(t, db)
		promptly(t, db)
		flushed := make(chan error, 1)
		go func() { flushed <- db.Flush(ctx) }()
		synctest.Wait()
		letThrough()
		again := store.hold()
		one, err := first()
		systemtest.Check(t, err)
		if m := db.Metrics(); m.ConfirmedSequence > before || m.ConfirmedSequence < one.Sequence {
			t.Errorf("%d is confirmed; the snapshot is at %d, the barrier behind %d", m.ConfirmedSequence, one.Sequence, before)
		}
		restored, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: filepath.Join(t.TempDir(), "r.sqlite")})
		if err != nil || restored.Sequence > before {
			t.Errorf("before the second snapshot: %+v, %v", restored, err)
		}
		promptly(t, db)
		select {
		case err := <-flushed:
			t.Errorf("Flush has returned before the barrier's snapshot was stored: %v", err)
		default:
		}
		again()
		systemtest.Check(t, <-flushed)
		if n := store.attempts.Load(); n != 2 {
			t.Errorf("%d snapshots", n)
		}
	})
}

// TestFencedInSnapshot: a session that loses its name while it uploads a snapshot gives
// that up, and no manifest names it.
func TestFencedInSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cfg, _, letThrough := held(t)
		db := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
		systemtest.Some(t, db, "t", 3)
		result := inTheBackground(ctx, db)
		synctest.Wait()
		systemtest.Check(t, db.Flush(ctx))
		other := cfg
		other.Store, other.ManualSync = cfg.Store.(*snapshotStore).Store, true
		other.Path = filepath.Join(t.TempDir(), "other.sqlite")
		other.AutoRestore = true
		there := systemtest.Open(t, other)
		systemtest.Exec(t, there, "INSERT INTO t(v) VALUES('of the other')")
		systemtest.Check(t, there.Flush(ctx))
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('too late')")
		if _, err := result(); !errors.Is(err, driftdb.ErrFenced) {
			t.Errorf("the snapshot: %v", err)
		}
		if !db.Metrics().Fenced || len(left(t, cfg)) > 0 {
			t.Errorf("fenced: %v; left is %q", db.Metrics().Fenced, left(t, cfg))
		}
		letThrough()
		info, err := systemtest.InfoOf(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: other.Store})
		systemtest.Check(t, err)
		if len(info.Snapshots) != 0 {
			t.Errorf("the history has the snapshots %+v", info.Snapshots)
		}
	})
}

// TestSnapshotsAreRefused: a store that refuses snapshots gets every change. It is not
// asked all the time, since each attempt reads all of the database, and the reason is
// told. When it takes them again, one is stored.
func TestSnapshotsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, store, _ := held(t)
		cfg.Retry.MaxRetries = -1
		refused := errors.New("the bucket's policy refuses it")
		var allowed atomic.Bool
		store.meddle = func(_ context.Context, body io.Reader) (io.Reader, error) {
			if allowed.Load() {
				return body, nil
			}
			return nil, refused
		}
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 3)
		systemtest.Check(t, db.Vacuum(t.Context())) // nothing counts without a snapshot
		for range 600 {
			promptly(t, db)
		}
		if n, m := store.attempts.Load(), db.Metrics(); n < 10 || n > 40 || !errors.Is(m.LastError, refused) {
			t.Errorf("%d attempts in 70 minutes; the last error is %v", n, m.LastError)
		}
		allowed.Store(true)
		time.Sleep(6 * time.Minute)
		if m := db.Metrics(); m.LastError != nil || m.ConfirmedSequence != m.LatestSequence {
			t.Errorf("%d of %d are confirmed: %v", m.ConfirmedSequence, m.LatestSequence, m.LastError)
		}
	})
}

// TestHoleInSnapshot: a row that changed without a log entry is found by a snapshot while
// batches go on. What they tell of its table does not contradict the snapshot: every
// point behind it can be restored.
func TestHoleInSnapshot(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 5)
	systemtest.Exec(t, db, "CREATE TABLE u(id INTEGER PRIMARY KEY, v)")
	systemtest.Check(t, db.Shutdown(ctx))
	rot(t, cfg.Path, "value 2", "VALUE 2")
	store := &snapshotStore{Store: cfg.Store}
	cfg.Store = store
	letThrough := store.hold()
	db = systemtest.Open(t, cfg) // compares at the end
	result := inTheBackground(ctx, db)
	systemtest.Eventually(t, "the upload begins", func() bool { return store.attempts.Load() == 1 })
	if n := db.Metrics().Mismatches; n != 1 {
		t.Errorf("%d mismatches", n)
	}
	points := map[int64]int64{}
	for i := range int64(5) {
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('meanwhile'); INSERT INTO u(v) VALUES(1)")
		systemtest.Check(t, db.Flush(ctx))
		points[db.Sequence()] = 6 + i
	}
	letThrough()
	_, err := result()
	systemtest.Check(t, err)
	for sequence, rows := range points {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.sqlite", sequence))
		res, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: path, Sequence: sequence})
		if err != nil || res.Sequence != sequence {
			t.Errorf("with %d rows: %+v, %v", rows, res, err)
		}
	}
}
