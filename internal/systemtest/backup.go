package systemtest

import (
	"context"
	"iter"
	"path/filepath"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
)

// Sequences returns the sequences of changes, which must be readable without an error.
func Sequences(t testing.TB, changes iter.Seq2[driftdb.Change, error]) (out []int64) {
	t.Helper()
	for c, err := range changes {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c.Sequence)
	}
	return out
}

// BackupOf returns the configuration of the backup that cfg restores.
func BackupOf(cfg driftdb.RestoreConfig) driftdb.BackupConfig {
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

// InfoOf opens a backup and calls Backup.Info.
func InfoOf(ctx context.Context, cfg driftdb.BackupConfig) (driftdb.BackupInfo, error) {
	return inBackup(ctx, cfg, func(b *driftdb.Backup) (driftdb.BackupInfo, error) { return b.Info(ctx) })
}

// Rekey opens a backup and calls Backup.Rekey.
func Rekey(ctx context.Context, cfg driftdb.BackupConfig, progress func(driftdb.RekeyResult)) (driftdb.RekeyResult, error) {
	return inBackup(ctx, cfg, func(b *driftdb.Backup) (driftdb.RekeyResult, error) { return b.Rekey(ctx, progress) })
}

// RekeyAfterLeak opens a backup and calls Backup.RekeyAfterLeak.
func RekeyAfterLeak(ctx context.Context, cfg driftdb.BackupConfig) (driftdb.RekeyResult, error) {
	return inBackup(ctx, cfg, func(b *driftdb.Backup) (driftdb.RekeyResult, error) { return b.RekeyAfterLeak(ctx, nil) })
}

// GarbageOf opens a backup and calls Backup.Garbage.
func GarbageOf(ctx context.Context, cfg driftdb.BackupConfig, retention time.Duration) ([]driftdb.GarbageObject, error) {
	return inBackup(ctx, cfg, func(b *driftdb.Backup) ([]driftdb.GarbageObject, error) { return b.Garbage(ctx, retention) })
}

// ChangesOf opens a backup and calls Backup.Changes.
func ChangesOf(ctx context.Context, cfg driftdb.BackupConfig, q driftdb.ChangeQuery) iter.Seq2[driftdb.Change, error] {
	return func(yield func(driftdb.Change, error) bool) {
		b, err := driftdb.OpenBackup(ctx, cfg)
		if err != nil {
			yield(driftdb.Change{}, err)
			return
		}
		b.Changes(ctx, q)(yield)
	}
}

// Elsewhere returns the configuration of the same database on another disk, restored from
// the bucket.
func Elsewhere(t testing.TB, cfg driftdb.Config) driftdb.Config {
	cfg.Path, cfg.AutoRestore = filepath.Join(t.TempDir(), "elsewhere.sqlite"), true
	return cfg
}

// Backup describes what the bucket holds of cfg's database.
func Backup(t testing.TB, cfg driftdb.Config) driftdb.BackupInfo {
	t.Helper()
	info, err := InfoOf(t.Context(), driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// RestoreTo restores a database to a path.
func RestoreTo(ctx context.Context, cfg driftdb.Config, path string) error {
	_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: path})
	return err
}
