package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/rogpeppe/go-internal/testscript"
)

// damaged is the key under which a script notes that it has damaged its store.
type damaged struct{}

// compareAtEnd lets a script end with a comparison of all databases in its
// folder with what the folder store restores.
func compareAtEnd(e *testscript.Env) {
	spoiled := new(bool)
	e.Values[damaged{}] = spoiled
	e.Defer(func() {
		if *spoiled {
			return
		}
		files, err := filepath.Glob(filepath.Join(e.WorkDir, "*.db"))
		if err != nil {
			e.T().Fatal(err)
		}
		for _, file := range files {
			if err := restoreAndCompare(file, filepath.Join(e.WorkDir, "store")); err != nil {
				e.T().Fatal(fmt.Sprintf("at the end, %s: %v", file, err))
			}
		}
	})
}

// restoreAndCompare opens a database under the name that it has, flushes it and
// compares it with a restore. Free copies have no name; what has diverged or
// needs a key that the script alone knows is left alone.
func restoreAndCompare(file, folder string) error {
	ctx := context.Background()
	name, err := query(file, "SELECT value FROM _driftdb_meta WHERE key = 'name'")
	if err != nil || name == "" {
		return nil
	}
	name = strings.Trim(name, "\"\n")
	store, err := objstore.Dir(folder)
	if err != nil {
		return err
	}
	db, err := driftdb.Open(ctx, driftdb.Config{Name: name, Path: file, Store: store})
	if errors.Is(err, driftdb.ErrDiverged) || errors.Is(err, driftdb.ErrKey) {
		return nil
	}
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Flush(ctx); err != nil {
		return err
	}
	if db.Sequence() == 0 {
		return nil // nothing was ever written
	}
	restored := file + ".restored"
	if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: name, Path: restored, Store: store}); err != nil {
		return err
	}
	return dbtest.Compare(file, restored)
}
