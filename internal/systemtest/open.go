package systemtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// Config is a database of its own, with a store in memory and manual syncing.
func Config(t testing.TB) driftdb.Config {
	t.Helper()
	return driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "app.sqlite"), Store: objstore.Mem(), ManualSync: true}
}

// Open opens a database. When the test ends, it is flushed, restored from its
// store, and both sides must be equal. TestOpenCompares sees to it that tests
// open their databases here.
func Open(t testing.TB, cfg driftdb.Config) *driftdb.DB {
	t.Helper()
	cfg = canaries.opened(t, cfg)
	db, err := driftdb.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer db.Close()
		if t.Failed() || cfg.Store == nil && cfg.S3 == nil {
			return
		}
		if err := RestoreAndCompare(db, cfg, t.TempDir()); err != nil {
			t.Errorf("at the end: %v", err)
		}
	})
	return db
}

// RestoreAndCompare flushes a database and compares a restore with it. One that was
// closed is opened once more for that. One that has lost its name to another
// has no backup to be compared with, and one that the test has removed or is
// open elsewhere is not there.
func RestoreAndCompare(db *driftdb.DB, cfg driftdb.Config, dir string) error {
	ctx := context.Background()
	err := db.Flush(ctx)
	if errors.Is(err, driftdb.ErrClosed) && cfg.Path != ":memory:" {
		if _, err := os.Stat(cfg.Path); err != nil {
			return nil
		}
		cfg.ManualSync, cfg.OnEvent = false, nil // Open tells of a file that the bucket is ahead of
		if db, err = driftdb.Open(ctx, cfg); err == nil {
			defer db.Close()
			db.StopSync()
			err = db.Flush(ctx)
		}
	}
	for _, lost := range []error{driftdb.ErrClosed, driftdb.ErrLocked, driftdb.ErrFenced, driftdb.ErrDiverged} {
		if errors.Is(err, lost) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	if db.Sequence() == 0 {
		// Nothing was ever written: then there is nothing. Or it was, and not recorded.
		tables, err := driftdb.Select[int](ctx, db, `SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE '\_driftdb\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`)
		if err != nil || tables[0] == 0 {
			return err
		}
	}
	restored := filepath.Join(dir, "restored.sqlite")
	_, err = driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: restored, Store: cfg.Store, S3: cfg.S3, EncryptionKeys: cfg.EncryptionKeys})
	if err != nil {
		return err
	}
	// ":memory:" is a file, too.
	file, err := driftdb.Select[string](ctx, db, "SELECT file FROM pragma_database_list WHERE name = 'main'")
	if err != nil {
		return err
	}
	return dbtest.Compare(file[0], restored)
}
