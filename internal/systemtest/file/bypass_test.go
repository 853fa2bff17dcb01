package file_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestBypassWhileBusy: other programs write while our own writers do, on the
// writer and on several connections of db.SQL(), and the engine uploads. What
// is in the bucket at the end is what is in the file.
func TestBypassWhileBusy(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.ManualSync, cfg.SyncInterval = false, 20*time.Millisecond
	told := systemtest.Listen(&cfg)
	db := systemtest.Open(t, cfg) // compares at the end
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, who)")
	type user struct {
		driftdb.Base
		Name string
	}
	users, err := driftdb.Define[user](t.Context(), db, "users")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var ours sync.WaitGroup
	write := func(fn func(context.Context) error) {
		ours.Go(func() {
			for ctx.Err() == nil {
				if err := fn(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	write(func(ctx context.Context) error { _, err := users.Create(ctx, user{Name: "n"}); return err })
	write(func(ctx context.Context) error {
		_, err := db.Exec(ctx, "INSERT INTO t(who) VALUES('exec')")
		return err
	})
	for range 2 {
		write(func(ctx context.Context) error {
			_, err := db.SQL().ExecContext(ctx, "INSERT INTO t(who) VALUES('sql')")
			return err
		})
	}
	for range 3 {
		child(t, "plain", cfg.Path, "INSERT INTO t(who) VALUES('other process');;DELETE FROM t WHERE id % 7 = 0")
		shell(t, cfg.Path, "INSERT INTO t(who) VALUES('shell'); UPDATE users SET name = 'changed by the shell' WHERE rowid % 3 = 0")
		systemtest.Exec(t, db, "INSERT INTO t(who) VALUES('after them')") // however busy the machine is: it notices
	}
	stop()
	ours.Wait()
	told.Wait(t, driftdb.EventForeignWrite)
	told.Wait(t, driftdb.EventSnapshotStored)
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := db.Metrics()
	if m.Barriers < 3 || m.LastSnapshotAt.IsZero() || m.ConfirmedSequence != m.LatestSequence {
		t.Errorf("metrics: %+v", m)
	}
}

// TestBypassWhileIdle: nobody of ours writes. The watch notices, with a store
// and without one.
func TestBypassWhileIdle(t *testing.T) {
	for _, synced := range []bool{true, false} {
		t.Run(fmt.Sprintf("store %v", synced), func(t *testing.T) {
			cfg := systemtest.Config(t)
			cfg.SyncInterval, cfg.ManualSync = 10*time.Millisecond, false
			if !synced {
				cfg.Store = nil
			}
			told := systemtest.Listen(&cfg)
			db := systemtest.Open(t, cfg)
			systemtest.Exec(t, db, "CREATE TABLE t(a)")
			child(t, "plain", cfg.Path, "INSERT INTO t VALUES(1);;INSERT INTO t VALUES(2)")
			told.Wait(t, driftdb.EventForeignWrite)
			if synced {
				told.Wait(t, driftdb.EventSnapshotStored)
				restored := filepath.Join(t.TempDir(), "restored.sqlite")
				res, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Path: restored, Store: cfg.Store})
				if err != nil || res.Rows != 2 {
					t.Errorf("restored without a Flush: %+v, %v", res, err)
				}
			}
			if n := db.Metrics().Barriers; n < 1 || n > 2 {
				t.Errorf("%d barriers for two commits that came together", n)
			}
		})
	}
}

// TestBypassBeforeFlush: what another program has written before Flush,
// Snapshot or Shutdown is called is in the bucket when it returns.
func TestBypassBeforeFlush(t *testing.T) {
	for name, call := range map[string]func(context.Context, *driftdb.DB) error{
		"Flush":    func(ctx context.Context, db *driftdb.DB) error { return db.Flush(ctx) },
		"Snapshot": func(ctx context.Context, db *driftdb.DB) error { _, err := db.Snapshot(ctx); return err },
		"Shutdown": func(ctx context.Context, db *driftdb.DB) error { return db.Shutdown(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := systemtest.Config(t)
			cfg.SyncInterval = time.Hour
			db := systemtest.Open(t, cfg)
			systemtest.Exec(t, db, "CREATE TABLE t(a)")
			if err := db.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			child(t, "plain", cfg.Path, "INSERT INTO t VALUES(1)")
			if err := call(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			if res, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Path: filepath.Join(t.TempDir(), "r"), Store: cfg.Store}); err != nil || res.Rows != 1 {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
}

// TestNoBypass: thousands of commits of our own, on four connections of each
// way in, with the engine uploading, confirming, trimming and taking
// snapshots, look foreign to nobody.
func TestNoBypass(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.ManualSync, cfg.SyncInterval, cfg.ManifestInterval, cfg.SnapshotEvery = false, time.Millisecond, time.Millisecond, 200
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE)")
	commits := 500
	if testing.Short() {
		commits = 100
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range commits {
				for _, err := range []error{
					systemtest.ErrorOf(db.Exec(t.Context(), "INSERT INTO t(a) VALUES(hex(randomblob(8)))")),
					systemtest.ErrorOf(db.SQL().ExecContext(t.Context(), "INSERT OR IGNORE INTO t(a) SELECT a FROM t LIMIT 1")),
					systemtest.ErrorOf(db.SQL().ExecContext(t.Context(), fmt.Sprintf("CREATE TABLE IF NOT EXISTS u%d(a)", i/50))),
				} {
					if err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if m := db.Metrics(); m.Barriers != 0 || m.LastSnapshotAt.IsZero() {
		t.Errorf("metrics: %+v", m)
	}
}

// TestBypassOtherFiles: files that DriftDB itself has just made give no barrier.
func TestBypassOtherFiles(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	if err := db.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	none := func(db *driftdb.DB) {
		t.Helper()
		if n := db.Metrics().Barriers; n != 0 {
			t.Errorf("%d barriers", n)
		}
	}
	again := cfg
	again.Path, again.AutoRestore = filepath.Join(t.TempDir(), "again.sqlite"), true
	for range 2 {
		restored, err := driftdb.Open(ctx, again)
		if err != nil {
			t.Fatal(err)
		}
		none(restored)
		systemtest.Some(t, restored, "t", 3)
		if err := restored.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := driftdb.Detach(again.Path); err != nil {
		t.Fatal(err)
	}
	again.Name, again.AutoRestore = "branch", false
	none(systemtest.Open(t, again))
	over := filepath.Join(t.TempDir(), "over.sqlite")
	// The second one finds the first one's file, and the clean-shutdown marker beside it. The
	// first one's bucket then has another history than the file.
	for _, ends := range []error{driftdb.ErrDiverged, nil} {
		if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: over, Store: cfg.Store, Overwrite: true}); err != nil {
			t.Fatal(err)
		}
		copied := systemtest.Config(t)
		copied.Path = over
		db := systemtest.Open(t, copied, systemtest.Ends(ends))
		none(db)
		systemtest.Some(t, db, "t", 1)
		if err := db.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
	}
	memory := driftdb.Config{Name: "m", Path: ":memory:"}
	none(systemtest.Open(t, memory))
}
