package backup_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// undeletable lets nobody delete anything, as a bucket's policy may.
type undeletable struct{ objstore.Store }

func (undeletable) Delete(_ context.Context, key string) error {
	return fmt.Errorf("delete %s: %w", key, fs.ErrPermission)
}

// TestDeleteDenied: a program that may not delete is told so once. All else that
// keeps a backup small and proven goes on.
func TestDeleteDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cfg := systemtest.Config(t)
		cfg.ManualSync, cfg.Retention, cfg.Store = false, 3*24*time.Hour, undeletable{cfg.Store}
		warnings := 0
		cfg.OnEvent = func(e driftdb.Event) {
			if e.Level >= slog.LevelWarn {
				warnings++
				if text := fmt.Sprint(e.Attrs["error"]); !strings.Contains(text, "delete") || !strings.Contains(text, "permission denied") {
					t.Errorf("%s %v", e.Message, e.Attrs)
				}
			}
		}
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 1)
		for range 70 { // enough to be merged
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('x')")
			time.Sleep(6 * time.Second)
		}
		for day := range 8 {
			systemtest.Exec(t, db, fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d DEFAULT 5", day))
			for range 4 {
				systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('y')")
				time.Sleep(6 * time.Hour)
			}
			_, err := db.Snapshot(ctx)
			systemtest.Check(t, err)
		}
		for range 3 {
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('z')")
			time.Sleep(time.Minute)
		}
		if warnings != 1 {
			t.Errorf("%d warnings", warnings)
		}
		if b := systemtest.Backup(t, cfg); len(b.Snapshots) > 5 {
			t.Errorf("the manifest names %d snapshots of 8 days, where 3 are kept", len(b.Snapshots))
		}
		r, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: filepath.Join(t.TempDir(), "r.sqlite")})
		if err != nil || r.Tables != 1 {
			t.Errorf("restored: %d tables proven, %v", r.Tables, err)
		}
		if _, _, err := db.CollectGarbage(ctx); err != nil {
			t.Logf("collect: %v", err)
		}
	})
}
