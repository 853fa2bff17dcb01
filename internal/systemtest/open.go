// Package systemtest has what tests of the whole system share: they open databases that
// are compared with a restore of their backup when the test ends, read and alter buckets,
// listen to events, and wait for background work. The tests are in the packages below it.
package systemtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// Config returns the configuration of a new database, with a store in memory and manual
// syncing.
func Config(t testing.TB) driftdb.Config {
	t.Helper()
	return driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "app.sqlite"), Store: objstore.Mem(), ManualSync: true}
}

// Option changes what Open does when the test ends.
type Option func(*ending)

type ending struct{ with error }

// Ends declares that the database cannot be flushed when the test ends, and with which
// error: it was fenced, has diverged, or is closed for good. If the flush succeeds, the
// test fails. Ends(nil) has no effect.
func Ends(with error) Option { return func(e *ending) { e.with = with } }

// Open opens a database. When the test ends, the database is flushed and restored from its
// store, and the two must be equal. The only ways around that are a configuration without
// a store, and Ends. TestOpenCompares ensures that tests open their databases here.
func Open(t testing.TB, cfg driftdb.Config, options ...Option) *driftdb.DB {
	t.Helper()
	var end ending
	for _, option := range options {
		option(&end)
	}
	cfg = canaries.opened(t, cfg)
	db, err := driftdb.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, file, line, _ := runtime.Caller(1)
	t.Cleanup(func() {
		defer db.Close()
		if t.Failed() || cfg.Store == nil && cfg.S3 == nil {
			return
		}
		if err := RestoreAndCompare(db, cfg, t.TempDir()); !errors.Is(err, end.with) {
			t.Errorf("at the end, the database that %s:%d opened: %v; want %v", filepath.Base(file), line, err, end.with)
		}
	})
	return db
}

// RestoreAndCompare flushes a database and compares a restore with it. If the database was
// closed, it is opened once more for that. It returns an error if it cannot compare them.
func RestoreAndCompare(db *driftdb.DB, cfg driftdb.Config, dir string) error {
	ctx := context.Background()
	err := db.Flush(ctx)
	if errors.Is(err, driftdb.ErrClosed) && cfg.Path != ":memory:" {
		if _, err := os.Stat(cfg.Path); err != nil {
			return err
		}
		cfg.ManualSync, cfg.OnEvent = false, nil // Open would report a file that the bucket is ahead of
		if db, err = driftdb.Open(ctx, cfg); err == nil {
			defer db.Close()
			db.StopSync()
			err = db.Flush(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	restored := filepath.Join(dir, "restored.sqlite")
	_, err = driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: restored, Store: cfg.Store, S3: cfg.S3, EncryptionKeys: cfg.EncryptionKeys})
	if errors.Is(err, driftdb.ErrNoBackup) && db.Sequence() == 0 {
		return wroteNothing(ctx, db)
	}
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

// wroteNothing returns nil if nothing was ever written to a database that has no backup.
// It returns an error if capture has recorded nothing although something was written.
func wroteNothing(ctx context.Context, db *driftdb.DB) error {
	const objects = `SELECT name FROM sqlite_schema WHERE name NOT LIKE '\_driftdb\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`
	there, err := driftdb.Select[string](ctx, db, objects)
	if err == nil && len(there) > 0 {
		err = fmt.Errorf("nothing was recorded, and there are %q", there)
	}
	return err
}
