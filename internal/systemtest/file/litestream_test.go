package file_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// The three tests below are what loses data with Litestream 0.5.

// TestTwoPrimariesOnOneReplica: two machines that both believe to be the
// primary write and sync by turns. The backup is the history of one of them, at
// every moment, and what the other one was told to be safe is in a branch.
func TestTwoPrimariesOnOneReplica(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Some(t, first, "t", 3)
	systemtest.Check(t, first.Flush(ctx))
	other := systemtest.Elsewhere(t, cfg)
	second := systemtest.Open(t, other)
	safe := map[*driftdb.DB][]string{}
	lost := map[*driftdb.DB]error{}
	for turn := range 10 {
		db, file := first, cfg.Path
		if turn%2 == 0 {
			db, file = second, other.Path
		}
		row := fmt.Sprintf("turn %d", turn)
		if _, err := db.Exec(ctx, "INSERT INTO t(v) VALUES(?)", row); err != nil {
			if !errors.Is(err, driftdb.ErrFenced) || lost[db] == nil {
				t.Fatalf("turn %d: a write: %v", turn, err)
			}
			continue
		}
		if err := db.Flush(ctx); err != nil {
			lost[db] = err
		}
		if db.Metrics().SyncedSequence == db.Sequence() {
			safe[db] = append(safe[db], row)
		}
		if lost[db] == nil {
			restored := filepath.Join(t.TempDir(), "restored.sqlite")
			_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: restored})
			systemtest.Check(t, err)
			dbtest.Equal(t, file, restored)
		}
	}
	if !errors.Is(lost[first], driftdb.ErrFenced) || lost[second] != nil {
		t.Fatalf("the one that was there first: %v; the one that took over: %v", lost[first], lost[second])
	}
	if len(safe[first]) != 1 || len(safe[second]) != 5 {
		t.Errorf("%q are safe of the first, %q of the second", safe[first], safe[second])
	}
	branches := systemtest.Backup(t, cfg).Branches
	if len(branches) != 1 {
		t.Fatalf("branches %+v", branches)
	}
	kept := filepath.Join(t.TempDir(), "branch.sqlite")
	_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: kept, Branch: branches[0].ID})
	systemtest.Check(t, err)
	dbtest.Equal(t, cfg.Path, kept)
}

// TestAnOldDiskReturns: a disk from before the last changes, such as one of a
// backup of the machine, does not rewind what the bucket has, whatever is done
// with it.
func TestAnOldDiskReturns(t *testing.T) {
	ctx := t.Context()
	for name, use := range map[string]func(db *driftdb.DB) error{
		"flush":              func(db *driftdb.DB) error { return db.Flush(ctx) },
		"snapshot":           func(db *driftdb.DB) error { _, err := db.Snapshot(ctx); return err },
		"collect":            func(db *driftdb.DB) error { _, _, err := db.CollectGarbage(ctx); return err },
		"shut down":          func(db *driftdb.DB) error { return db.Shutdown(ctx) },
		"vacuum, then flush": func(db *driftdb.DB) error { return errors.Join(db.Vacuum(ctx), db.Flush(ctx)) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := systemtest.Config(t)
			db := systemtest.Open(t, cfg)
			systemtest.Some(t, db, "t", 3)
			systemtest.Check(t, db.Flush(ctx))
			old := filepath.Join(t.TempDir(), "old.sqlite")
			systemtest.NeedsCopies(t)
			systemtest.Check(t, systemtest.CopyDisk(ctx, cfg.Path, old))
			systemtest.Some(t, db, "t", 3)
			systemtest.Check(t, db.Flush(ctx))
			before := contents(t, cfg.Store)

			stale := cfg
			stale.Path = old
			back := systemtest.Open(t, stale, systemtest.Ends(driftdb.ErrDiverged))
			// As many changes as the bucket has, and more, by other numbers than these.
			systemtest.Some(t, back, "t", 5)
			if err := use(back); !errors.Is(err, driftdb.ErrDiverged) {
				t.Errorf("the old disk: %v", err)
			}
			if !maps.Equal(before, contents(t, cfg.Store)) {
				t.Errorf("it changed the bucket: %q", systemtest.Keys(t, cfg.Store))
			}
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('the writer goes on')")
			systemtest.Check(t, db.Flush(ctx))
		})
	}
}

// contents is all that a store holds.
func contents(t *testing.T, store objstore.Store) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, key := range systemtest.Keys(t, store) {
		out[key] = string(systemtest.Read(t, store, key))
	}
	return out
}

// TestARowWrittenWhileSyncIsDown: rows that are written while nobody syncs, by
// a program that knows of no bucket, or syncs when it is told to and dies, are
// in the bucket once somebody syncs again.
func TestARowWrittenWhileSyncIsDown(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	systemtest.Check(t, os.Mkdir(cfg.Path+"-bucket", 0o700))
	store, err := objstore.Dir(cfg.Path + "-bucket")
	systemtest.Check(t, err)
	cfg.Store = store
	// Each process dies, and none of them shuts its database down.
	child(t, "driftdb, killed", cfg.Path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v);;INSERT INTO t(v) VALUES('synced');;FLUSH;;INSERT INTO t(v) VALUES('not synced')")
	child(t, "driftdb, killed", cfg.Path, "INSERT INTO t(v) VALUES('while sync is down')")
	alone := cfg
	alone.Store = nil
	db, err := driftdb.Open(ctx, alone)
	systemtest.Check(t, err)
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('without a bucket')")
	systemtest.Check(t, db.Close())

	db = systemtest.Open(t, cfg)
	systemtest.Check(t, db.Flush(ctx))
	restored := filepath.Join(t.TempDir(), "restored.sqlite")
	_, err = driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: restored})
	systemtest.Check(t, err)
	dbtest.Equal(t, cfg.Path, restored)
	rows, err := driftdb.Select[string](ctx, db, "SELECT v FROM t ORDER BY id")
	systemtest.Check(t, err)
	if want := []string{"synced", "not synced", "while sync is down", "without a bucket"}; !slices.Equal(rows, want) {
		t.Errorf("%q, want %q", rows, want)
	}
	if n := db.Metrics().Barriers; n != 0 {
		t.Errorf("%d barriers: nothing happened that the log cannot say", n)
	}
}
