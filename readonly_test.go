package driftdb_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	driftdb "github.com/driftdb/driftdb-go"
)

// folderOf is what is in the folder of a file, byte for byte.
func folderOf(t testing.TB, file string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(filepath.Dir(file))
	check(t, err)
	for _, e := range entries {
		if e.Type().IsRegular() {
			data, err := os.ReadFile(filepath.Join(filepath.Dir(file), e.Name()))
			check(t, err)
			all[e.Name()] = string(data)
		}
	}
	return all
}

// TestReadOnly: everything that reads works, everything that writes is refused, and the
// folder stays as it was.
func TestReadOnly(t *testing.T) {
	ctx := t.Context()
	type Note struct {
		driftdb.Base
		Text string
	}
	cfg := config(t)
	db := open(t, cfg)
	notes, err := driftdb.Define[Note](ctx, db, "notes")
	check(t, err)
	_, err = notes.Create(ctx, Note{Text: "one"})
	check(t, err)
	last := db.Sequence()
	check(t, db.Shutdown(ctx))
	before := folderOf(t, cfg.Path)

	cfg.ReadOnly = true
	db = openToRead(t, cfg)
	other := openToRead(t, cfg)
	notes, err = driftdb.Define[Note](ctx, db, "notes")
	check(t, err)
	if n, err := notes.Count(ctx, driftdb.All); err != nil || n != 1 {
		t.Errorf("%d notes, %v", n, err)
	}
	if n, err := driftdb.Select[int64](ctx, other, "SELECT count(*) FROM notes"); err != nil || n[0] != 1 {
		t.Errorf("%d notes, %v", n, err)
	}
	var n int64
	check(t, db.SQL().QueryRow("SELECT count(*) FROM notes").Scan(&n))
	check(t, db.ReadTx(ctx, func(tx *driftdb.Tx) error { return nil }))
	check(t, db.IntegrityCheck(ctx))
	if m := db.Metrics(); db.Sequence() != last || m.LatestSequence != last || m.LastError != nil {
		t.Errorf("at %d, want %d: %+v", db.Sequence(), last, m)
	}
	type other2 struct {
		driftdb.Base
		X int
	}
	for what, do := range map[string]func() error{
		"Exec":      func() error { _, err := db.Exec(ctx, "DELETE FROM notes"); return err },
		"Tx":        func() error { return db.Tx(ctx, func(*driftdb.Tx) error { return nil }) },
		"Create":    func() error { _, err := notes.Create(ctx, Note{}); return err },
		"Delete":    func() error { _, err := notes.Delete(ctx, driftdb.All); return err },
		"Define":    func() error { _, err := driftdb.Define[other2](ctx, db, "others"); return err },
		"Flush":     func() error { return db.Flush(ctx) },
		"Snapshot":  func() error { _, err := db.Snapshot(ctx); return err },
		"Vacuum":    func() error { return db.Vacuum(ctx) },
		"SQL":       func() error { _, err := db.SQL().Exec("DELETE FROM notes"); return err },
		"SQL's DDL": func() error { _, err := db.SQL().Exec("CREATE TABLE x(a)"); return err },
	} {
		if err := do(); !errors.Is(err, driftdb.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	db.StartSync()
	db.StopSync()
	check(t, db.Close())
	check(t, other.Shutdown(ctx))
	if _, err := db.Exec(ctx, "DELETE FROM notes"); !errors.Is(err, driftdb.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	after := folderOf(t, cfg.Path)
	for name, data := range before {
		if after[name] != data {
			t.Errorf("%s has changed", name)
		}
	}
	cfg.Path = filepath.Join(t.TempDir(), "none", "x.sqlite")
	if _, err := driftdb.Open(ctx, cfg); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(cfg.Path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its folder was made: %v", err)
	}
}

func openToRead(t testing.TB, cfg driftdb.Config) *driftdb.DB {
	t.Helper()
	cfg.ReadOnly = true
	db, err := driftdb.Open(t.Context(), cfg)
	check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestReaders: machines that open a database and list it, ReadOnly and not, beside its
// writer: on its own file, and on files of their own. It is never fenced, and what they
// ask of the bucket is little.
func TestReaders(t *testing.T) {
	ctx := t.Context()
	rounds := setting(t, "DRIFTDB_READERS", 10)
	cfg := config(t)
	cfg.ManualSync, cfg.SyncInterval = false, 5*time.Millisecond
	a := open(t, cfg)
	exec(t, a, "CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT)")
	check(t, a.Flush(ctx))
	stop, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				if _, err := a.Exec(context.Background(), "INSERT INTO notes(text) VALUES('x')"); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	store := &ledger{Store: cfg.Store}
	beside, away, awayToRead := cfg, elsewhere(t, cfg), elsewhere(t, cfg)
	beside.ReadOnly, awayToRead.ReadOnly = true, true
	for name, reader := range map[string]driftdb.Config{"ReadOnly, the writer's file": beside, "ReadOnly, a file of its own": awayToRead, "a file of its own": away} {
		reader.Store = store
		reader.SyncInterval = time.Hour
		for range rounds {
			db, err := driftdb.Open(ctx, reader)
			check(t, err)
			if _, err := driftdb.Select[int64](ctx, db, "SELECT count(*) FROM notes"); err != nil {
				t.Error(err)
			}
			check(t, db.Close())
		}
		requests := store.since()
		if n := tally(requests, "PUT") + tally(requests, "DELETE"); n > 0 {
			t.Errorf("%s: %d requests that write", name, n)
		}
		t.Logf("%s: %d listings: %d GET, %d LIST", name, rounds, tally(requests, "GET"), tally(requests, "LIST"))
	}
	close(stop)
	<-done
	if m := a.Metrics(); m.Fenced || m.LastError != nil {
		t.Errorf("the writer: %+v", m)
	}
}
