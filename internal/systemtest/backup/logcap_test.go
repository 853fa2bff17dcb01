package backup_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// collapsed returns the last barrier among the changes since from, and how many of other
// kinds come before it.
func collapsed(t *testing.T, db *driftdb.DB, from int64) (barrier driftdb.Change, before int) {
	t.Helper()
	n := 0
	for c, err := range db.Changes(t.Context(), driftdb.ChangeQuery{From: from}) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Operation == driftdb.OperationBarrier {
			barrier, before = c, n
		}
		n++
	}
	return barrier, before
}

// TestLogCap: with a bucket that cannot be reached the log is given up when it
// has outgrown its limit, and not before; all data is kept, and is in the bucket
// when that is back.
func TestLogCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		store := objstoretest.Break(cfg.Store, nil)
		cfg.Store, cfg.ManualSync, cfg.MaxLogBytes = store, false, 256<<10
		db := systemtest.Open(t, cfg) // compares at the end
		systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('sent')")
		sent := time.Now()
		time.Sleep(2 * time.Minute)
		store.SetHook(objstoretest.From(1, objstoretest.Fault{Kind: objstoretest.Fail}))
		value := strings.Repeat("x", 1000)
		for i := range 2000 {
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES(?)", value)
			if i%50 == 0 {
				time.Sleep(6 * time.Second)
				if n := db.Metrics().LogSizeBytes; n > 3*cfg.MaxLogBytes {
					t.Fatalf("after %d rows the log has %d bytes", i, n)
				}
			}
		}
		if m := db.Metrics(); m.PendingChanges != 2000 {
			t.Errorf("%d changes are pending, want 2000", m.PendingChanges)
		}
		b, before := collapsed(t, db, 3)
		if !strings.Contains(b.Reason, "limit") || before > 600 {
			t.Errorf("the log has %d changes before the barrier %+v", before, b)
		}
		store.SetHook(nil)
		time.Sleep(5 * time.Minute)
		if m := db.Metrics(); m.PendingChanges != 0 || m.ConfirmedSequence != m.LatestSequence || m.LastSnapshotAt.IsZero() {
			t.Errorf("after the bucket came back: %+v", m)
		}
		_, err := driftdb.Verify(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Sequence: 100})
		if r, _ := driftdb.Verify(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Sequence: 2}); err != nil && !errors.Is(err, driftdb.ErrCorrupt) || r.Sequence != 2 {
			t.Errorf("points within and before what was given up: %v, %+v", err, r)
		}
		for at, want := range map[time.Time]int64{sent: 2, b.Time: 0, b.Time.Add(time.Minute): 0, time.Now(): db.Sequence()} {
			r, err := driftdb.Verify(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, At: at})
			switch {
			case want == 0 && (!errors.Is(err, driftdb.ErrNoBackup) || !strings.Contains(err.Error(), "choose an earlier or a later point")):
				t.Errorf("at %s, within what was given up: %+v, %v", at, r, err)
			case want != 0 && (err != nil || r.Sequence != want):
				t.Errorf("at %s: %+v, %v, want %d", at, r, err, want)
			}
		}
	})
}

// TestLogCapWithoutStore: the same without a bucket; one that is given later
// begins with a snapshot.
func TestLogCapWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		cfg.Store, cfg.MaxLogBytes = nil, 64<<10
		db := systemtest.Open(t, cfg)
		systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
		for range 300 {
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES(?)", strings.Repeat("y", 1000))
			time.Sleep(time.Second)
		}
		if n := db.Metrics().LogSizeBytes; n > cfg.MaxLogBytes*2 {
			t.Errorf("the log has %d bytes", n)
		}
		if b, before := collapsed(t, db, 1); b.Reason == "" || before > 600 {
			t.Errorf("the log has %d changes before the barrier %+v", before, b)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		cfg.Store = objstore.Mem()
		db = systemtest.Open(t, cfg) // compares at the end
		if err := db.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b := systemtest.Backup(t, cfg); len(b.Snapshots) != 1 {
			t.Errorf("the backup: %+v", b)
		}
	})
}

// TestLogCapOff: with a negative limit the log is never given up.
func TestLogCapOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		cfg.Store, cfg.MaxLogBytes = nil, -1
		db := systemtest.Open(t, cfg)
		for range 5 {
			systemtest.Some(t, db, "t", 10)
			time.Sleep(time.Minute)
		}
		if m := db.Metrics(); m.Barriers != 0 || m.LogSizeBytes == 0 {
			t.Errorf("metrics: %+v", m)
		}
	})
}
