package driftdb_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// config is a database of its own, with a store in memory and manual syncing.
func config(t testing.TB) driftdb.Config {
	t.Helper()
	return driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "app.sqlite"), Store: objstore.Mem(), ManualSync: true}
}

// open opens a database. When the test ends, it is flushed, restored from its
// store, and both sides must be equal. TestOpenCompares sees to it that tests
// open their databases here.
func open(t testing.TB, cfg driftdb.Config) *driftdb.DB {
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
		if err := restoreAndCompare(db, cfg, t.TempDir()); err != nil {
			t.Errorf("at the end: %v", err)
		}
	})
	return db
}

// restoreAndCompare flushes a database and compares a restore with it. One that was
// closed is opened once more for that. One that has lost its name to another
// has no backup to be compared with, and one that the test has removed or is
// open elsewhere is not there.
func restoreAndCompare(db *driftdb.DB, cfg driftdb.Config, dir string) error {
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

// some creates a table and puts n rows into it, each in a transaction.
func some(t testing.TB, db *driftdb.DB, table string, n int) {
	t.Helper()
	exec(t, db, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s(id INTEGER PRIMARY KEY, v TEXT)", table))
	for i := range n {
		exec(t, db, fmt.Sprintf("INSERT INTO %s(v) VALUES(?)", table), fmt.Sprintf("value %d", i))
	}
}

func count(t testing.TB, db *driftdb.DB, table string) int64 {
	t.Helper()
	n, err := driftdb.Select[int64](t.Context(), db, "SELECT count(*) FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	return n[0]
}

func keys(t testing.TB, store objstore.Store) []string {
	t.Helper()
	var out []string
	for info, err := range store.List(t.Context(), "", objstore.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, info.Key)
	}
	return out
}

// exec runs a script that must succeed.
func exec(t testing.TB, db *driftdb.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// memoryDir is a folder that is not on a disk, where there is one: long random
// tests would wait for fsync most of their time.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "driftdb-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// backupOf is the backup that a restore is from.
func backupOf(cfg driftdb.RestoreConfig) driftdb.BackupConfig {
	return driftdb.BackupConfig{Name: cfg.Name, S3: cfg.S3, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys, OnConnect: cfg.OnConnect}
}

// inBackup opens a backup and calls one of its methods.
func inBackup[R any](ctx context.Context, cfg driftdb.BackupConfig, call func(*driftdb.Backup) (R, error)) (R, error) {
	b, err := driftdb.OpenBackup(ctx, cfg)
	if err != nil {
		var none R
		return none, err
	}
	return call(b)
}

func infoOf(ctx context.Context, cfg driftdb.BackupConfig) (driftdb.BackupInfo, error) {
	return inBackup(ctx, cfg, func(b *driftdb.Backup) (driftdb.BackupInfo, error) { return b.Info(ctx) })
}

func rekey(ctx context.Context, cfg driftdb.BackupConfig, progress func(driftdb.RekeyResult)) (driftdb.RekeyResult, error) {
	return inBackup(ctx, cfg, func(b *driftdb.Backup) (driftdb.RekeyResult, error) { return b.Rekey(ctx, progress) })
}

func rekeyAfterLeak(ctx context.Context, cfg driftdb.BackupConfig) (driftdb.RekeyResult, error) {
	return inBackup(ctx, cfg, func(b *driftdb.Backup) (driftdb.RekeyResult, error) { return b.RekeyAfterLeak(ctx, nil) })
}

func garbageOf(ctx context.Context, cfg driftdb.BackupConfig, retention time.Duration) ([]driftdb.GarbageObject, error) {
	return inBackup(ctx, cfg, func(b *driftdb.Backup) ([]driftdb.GarbageObject, error) { return b.Garbage(ctx, retention) })
}

func changesOf(ctx context.Context, cfg driftdb.BackupConfig, q driftdb.ChangeQuery) iter.Seq2[driftdb.Change, error] {
	return func(yield func(driftdb.Change, error) bool) {
		b, err := driftdb.OpenBackup(ctx, cfg)
		if err != nil {
			yield(driftdb.Change{}, err)
			return
		}
		b.Changes(ctx, q)(yield)
	}
}
