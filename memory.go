package driftdb

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// An in-memory database is a file in a private temporary folder, so that it
// has readers beside its writer, a log and snapshots like any other. SQLite's
// own memory databases have none of that: a reader stops the writer there.

const memoryPrefix = "driftdb-memory-"

// claimMemory makes the folder, and removes those of crashed processes.
func (db *DB) claimMemory() error {
	removeDead(os.TempDir())
	dir, err := os.MkdirTemp("", memoryPrefix)
	if err != nil {
		return err
	}
	db.cleanup = func() error { return os.RemoveAll(dir) }
	db.path = filepath.Join(dir, "memory.sqlite")
	db.file = flock.New(db.path + "-lock")
	_, err = db.file.TryLock()
	return err
}

// removeDead deletes folders whose lock nobody holds. A folder without a lock
// file may just be in the making.
func removeDead(temp string) {
	entries, err := os.ReadDir(temp)
	if err != nil {
		return // a folder that is left over harms nobody
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), memoryPrefix) {
			continue
		}
		dir := filepath.Join(temp, e.Name())
		name := filepath.Join(dir, "memory.sqlite-lock")
		if _, err := os.Stat(name); err != nil {
			continue
		}
		lock := flock.New(name)
		if ok, err := lock.TryLock(); err == nil && ok {
			_ = os.RemoveAll(dir)
			_ = lock.Close()
		}
	}
}

// escapeGlob makes a name match itself.
func escapeGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}
