package driftdb_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestRoundTrip writes, flushes, loses the disk and gets everything back.
func TestRoundTrip(t *testing.T) {
	ctx := t.Context()
	store := objstore.Mem()
	dir := t.TempDir()
	cfg := driftdb.Config{Name: "app", Path: filepath.Join(dir, "a.sqlite"), Store: store, ManualSync: true}
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		"CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
		"INSERT INTO t(v) VALUES('one'), ('two'), (x'00ff')",
		"UPDATE t SET v = 'zwei' WHERE id = 2",
	} {
		if _, err := db.Exec(ctx, q); err != nil {
			t.Fatal(q, err)
		}
	}
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(ctx, "DELETE FROM t WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	if err := db.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	free := filepath.Join(dir, "free.sqlite")
	if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Path: free, Store: store}); err != nil {
		t.Fatal(err)
	}
	dbtest.Equal(t, cfg.Path, free)
	cfg.Path, cfg.AutoRestore = filepath.Join(dir, "b.sqlite"), true
	db, err = driftdb.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Equal(t, free, cfg.Path)
	if _, err := db.Exec(ctx, "INSERT INTO t(v) VALUES('after')"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(ctx, "SELECT 1"); !errors.Is(err, driftdb.ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
}
