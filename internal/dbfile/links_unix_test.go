//go:build unix

package dbfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// TestLockNotFile: what is in the lock's place and is no file is neither followed nor
// opened.
func TestLockNotFile(t *testing.T) {
	for what, put := range map[string]func(lock, theirs string) error{
		"a link":            func(lock, theirs string) error { return os.Symlink(theirs, lock) },
		"a link to nothing": func(lock, _ string) error { return os.Symlink("nothing", lock) },
		"a pipe":            func(lock, _ string) error { return syscall.Mkfifo(lock, 0o600) },
		"a folder":          func(lock, _ string) error { return os.Mkdir(lock, 0o700) },
	} {
		dir := t.TempDir()
		path, theirs := filepath.Join(dir, "app.sqlite"), filepath.Join(dir, "theirs")
		write(t, theirs, "precious")
		must(t, put(path+lockSuffix, theirs))
		if _, err := Take(path); !errors.Is(err, ErrNotFile) {
			t.Errorf("%s: %v", what, err)
		}
		wantNames(t, dir, "app.sqlite-lock", "theirs")
	}
}

// TestWorkFolderIsLink: a working folder is beside the database, on its disk.
func TestWorkFolderIsLink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.sqlite")
	must(t, os.Mkdir(filepath.Join(dir, "elsewhere"), 0o700))
	must(t, os.Symlink("elsewhere", path+workSuffix))
	if _, err := NewWork(path); err == nil || !strings.Contains(err.Error(), "must be a folder") {
		t.Errorf("a working folder: %v", err)
	}
	take(t, path)
	wantNames(t, filepath.Join(dir, "elsewhere"))
}

// TestSidesNotFiles: SQLite does not write through a link, nor wait for a pipe.
func TestSidesNotFiles(t *testing.T) {
	for what, put := range map[string]func(side, theirs string) error{
		"a link":            func(side, theirs string) error { return os.Symlink(theirs, side) },
		"a link to nothing": func(side, _ string) error { return os.Symlink("nothing", side) },
		"a pipe":            func(side, _ string) error { return syscall.Mkfifo(side, 0o600) },
		"a folder":          func(side, _ string) error { return os.Mkdir(side, 0o700) },
		"another name":      func(side, theirs string) error { return os.Link(theirs, side) },
		"an empty one's": func(side, theirs string) error {
			return errors.Join(os.WriteFile(theirs+"2", nil, 0o600), os.Link(theirs+"2", side))
		},
	} {
		for _, suffix := range sideSuffixes {
			for _, there := range []bool{false, true} {
				dir := t.TempDir()
				path, theirs := filepath.Join(dir, "app.sqlite"), filepath.Join(dir, "theirs")
				write(t, theirs, "precious")
				if there {
					database(t, path, sqlite.Options{}, "CREATE TABLE t(x)")
				}
				must(t, put(path+suffix, theirs))
				if aside, err := SetAside(path); err != nil || len(aside) != 1 {
					t.Errorf("%s in the place of %s, a database %v: set aside %q, %v", what, suffix, there, aside, err)
				}
				if text, err := os.ReadFile(theirs); err != nil || string(text) != "precious" {
					t.Errorf("%s in the place of %s: what it led to is changed (%v)", what, suffix, err)
				}
			}
		}
	}
}
