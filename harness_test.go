package driftdb_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

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
// store, and both sides must be equal.
func open(t testing.TB, cfg driftdb.Config) *driftdb.DB {
	t.Helper()
	db, err := driftdb.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			db.Close()
			return
		}
		restoreEqual(t, cfg, db)
	})
	return db
}

// restoreEqual flushes db and compares a restore with it. A database that the
// test has closed or that was fenced is left alone.
func restoreEqual(t testing.TB, cfg driftdb.Config, db *driftdb.DB) {
	t.Helper()
	ctx := context.Background()
	defer db.Close()
	if cfg.Store == nil || cfg.Path == ":memory:" {
		return
	}
	switch err := db.Flush(ctx); {
	case errors.Is(err, driftdb.ErrClosed), errors.Is(err, driftdb.ErrFenced), errors.Is(err, driftdb.ErrDiverged):
		return
	case err != nil:
		t.Errorf("flush at the end: %v", err)
		return
	}
	if db.Sequence() == 0 {
		return // nothing was ever written
	}
	copyPath := filepath.Join(t.TempDir(), "restored.sqlite")
	if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: copyPath, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys}); err != nil {
		t.Errorf("restore at the end: %v", err)
		return
	}
	dbtest.Equal(t, cfg.Path, copyPath)
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
