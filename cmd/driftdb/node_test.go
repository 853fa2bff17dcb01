package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/rogpeppe/go-internal/testscript"
)

// nodeConfig opens a database of the folder store in a script's work folder.
func nodeConfig(ts *testscript.TestScript, name, file string) driftdb.Config {
	store, err := objstore.Dir(ts.MkAbs("store"))
	ts.Check(err)
	return driftdb.Config{Name: name, Path: ts.MkAbs(file), Store: store, AutoRestore: true}
}

// takeOver makes FILE, restored from the store, another node's copy of the
// database NAME, and that node its writer.
func takeOver(ts *testscript.TestScript, name, file string) {
	cfg := nodeConfig(ts, name, file)
	cfg.ManualSync = true
	db, err := driftdb.Open(context.Background(), cfg)
	ts.Check(err)
	_, err = db.Snapshot(context.Background())
	ts.Check(err)
	ts.Check(db.Close()) // which does not say that the name is free
}

// makeBranch opens the database NAME in FILE, lets OTHER take it over, and
// executes a statement with the one that does not know it yet. It has to keep
// the change as a branch.
func makeBranch(ts *testscript.TestScript, name, file, other, query string) {
	ctx := context.Background()
	cfg := nodeConfig(ts, name, file)
	cfg.ManualSync = true
	db, err := driftdb.Open(ctx, cfg)
	ts.Check(err)
	defer db.Close()
	_, err = db.Snapshot(ctx) // it is the writer now
	ts.Check(err)
	takeOver(ts, name, other)
	_, err = db.Exec(ctx, query)
	ts.Check(err)
	if err := db.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
		ts.Fatalf("flush after %s has taken over: %v", other, err)
	}
}

// writeOffline executes a statement on the database NAME in FILE, which is made if it is
// missing, without the store.
func writeOffline(ts *testscript.TestScript, name, file, query string) {
	cfg := nodeConfig(ts, name, file)
	cfg.Store, cfg.AutoRestore = nil, false
	db, err := driftdb.Open(context.Background(), cfg)
	ts.Check(err)
	_, err = db.Exec(context.Background(), query)
	ts.Check(errors.Join(err, db.Close()))
}

// goOnline sends what FILE has.
func goOnline(ts *testscript.TestScript, name, file string) {
	db, err := driftdb.Open(context.Background(), nodeConfig(ts, name, file))
	ts.Check(err)
	ts.Check(db.Shutdown(context.Background()))
}

// times are what a manifest says by the store's clock, and checksum is what one that
// was edited has not.
var (
	times    = regexp.MustCompile(`("(?:prunedAt|stored|at|latest)":\s*)(\d+)`)
	checksum = regexp.MustCompile(`,\s*"checksum": "[0-9a-f]*"`)
)

// passDays lets days pass for the store: its files, and what the manifest of
// NAME says of them and of the last collection, become older.
func passDays(ts *testscript.TestScript, name string, days int) {
	by := time.Duration(days) * 24 * time.Hour
	manifest := ts.MkAbs(filepath.Join("store", "databases", name, "manifest.json"))
	content, err := os.ReadFile(manifest)
	ts.Check(err)
	content = times.ReplaceAllFunc(content, func(field []byte) []byte {
		parts := times.FindSubmatch(field)
		ms, err := strconv.ParseInt(string(parts[2]), 10, 64)
		ts.Check(err)
		return strconv.AppendInt(parts[1], ms-by.Milliseconds(), 10)
	})
	content = checksum.ReplaceAll(content, nil)
	ts.Check(os.WriteFile(manifest, content, 0o600))
	ts.Check(filepath.WalkDir(ts.MkAbs("store"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(path, time.Time{}, info.ModTime().Add(-by))
	}))
}
