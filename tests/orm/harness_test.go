// Package orm_test runs the life of a program over db.SQL() with the usual
// database tools, each unmodified, and restores what it wrote.
package orm_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// open opens a new database. When the test ends, it is restored from its store,
// from the log of changes alone, and both sides must hold the same.
func open(t *testing.T) *driftdb.DB {
	t.Helper()
	cfg := driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "app.sqlite"), Store: objstore.Mem(), ManualSync: true}
	db, err := driftdb.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer db.Close()
		if !t.Failed() {
			restoreEqual(t, db, cfg)
		}
	})
	return db
}

func restoreEqual(t *testing.T, db *driftdb.DB, cfg driftdb.Config) {
	t.Helper()
	ctx := context.Background() // the test's own has ended
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	onlyLog(t, cfg)
	restored := filepath.Join(t.TempDir(), "restored.sqlite")
	if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: restored, Store: cfg.Store}); err != nil {
		t.Fatal(err)
	}
	dbtest.Equal(t, cfg.Path, restored)
}

// onlyLog fails the test if the store has a snapshot, whose pages would hide
// what capture has missed.
func onlyLog(t *testing.T, cfg driftdb.Config) {
	t.Helper()
	for info, err := range cfg.Store.List(context.Background(), "", objstore.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info.Key, "/snapshots/") {
			t.Errorf("a snapshot was taken: %s", info.Key)
		}
	}
}

// together runs fn(0), …, fn(n-1) at the same time.
func together(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := fn(i); err != nil {
				t.Errorf("goroutine %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// must fails the test at the first error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// equal compares what a tool says with what it should say.
func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}
