package dbfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// finished is a working folder with a database that says "new".
func finished(t *testing.T, path string) *Work {
	t.Helper()
	w, err := NewWork(path)
	must(t, err)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	database(t, w.Path(), sqlite.Options{MustExist: true, KeepJournal: true}, "CREATE TABLE t(x); INSERT INTO t VALUES('new')")
	return w
}

func replace(f *File, w *Work, overwrite bool) ([]string, error) {
	if err := f.Free(overwrite); err != nil {
		return nil, err
	}
	r, err := f.Replace(w, false)
	return r.Aside, err
}

const content = "SELECT group_concat(x) FROM t"

// TestReplace: the new database comes into its place, in whatever state that is.
func TestReplace(t *testing.T) {
	t.Run("nothing there", func(t *testing.T) {
		f := take(t, filepath.Join(t.TempDir(), "app.sqlite"))
		aside, err := replace(f, finished(t, f.Path()), false)
		if err != nil || len(aside) > 0 || read(t, f.Path(), content) != "new" {
			t.Errorf("%q, %v", aside, err)
		}
	})
	t.Run("something there", func(t *testing.T) {
		f := take(t, filepath.Join(t.TempDir(), "app.sqlite"))
		database(t, f.Path(), sqlite.Options{}, "CREATE TABLE t(x); INSERT INTO t VALUES('old')")
		w := finished(t, f.Path())
		if _, err := replace(f, w, false); !errors.Is(err, fs.ErrExist) || read(t, f.Path(), content) != "old" {
			t.Errorf("not to be overwritten: %v", err)
		}
		must(t, os.Chmod(f.Path(), 0o640))
		if _, err := replace(f, w, true); err != nil || read(t, f.Path(), content) != "new" {
			t.Errorf("to be overwritten: %v", err)
		}
		if info, err := os.Stat(f.Path()); err != nil || info.Mode().Perm() != 0o640 && runtime.GOOS != "windows" {
			t.Errorf("mode: %v, %v", info.Mode(), err)
		}
		wantNames(t, filepath.Dir(f.Path()), "app.sqlite", "app.sqlite-lock", "app.sqlite-driftdb")
	})
	t.Run("a text there", func(t *testing.T) {
		f := take(t, filepath.Join(t.TempDir(), "app.sqlite"))
		write(t, f.Path(), strings.Repeat("no database ", 1000))
		write(t, f.Path()+"-wal", "nor a WAL")
		aside, err := replace(f, finished(t, f.Path()), true)
		if err != nil || len(aside) != 1 || read(t, f.Path(), content) != "new" {
			t.Errorf("%q, %v", aside, err)
		}
	})
	t.Run("somebody else's WAL there", func(t *testing.T) {
		f := take(t, filepath.Join(t.TempDir(), "app.sqlite"))
		wal := walOf(t, "INSERT INTO t VALUES('theirs')")
		write(t, f.Path()+"-wal", wal)
		aside, err := replace(f, finished(t, f.Path()), true)
		if err != nil || len(aside) != 1 || read(t, f.Path(), content) != "new" {
			t.Fatalf("%q, %v", aside, err)
		}
		if text, err := os.ReadFile(aside[0]); err != nil || string(text) != wal {
			t.Errorf("it was changed (%v)", err)
		}
	})
}

// TestReplaceInUse: a program that has the old database open is not left with
// files that have no name, and what it has in its WAL stays.
func TestReplaceInUse(t *testing.T) {
	for _, opts := range []sqlite.Options{{}, {KeepJournal: true}} {
		f := take(t, filepath.Join(t.TempDir(), "app.sqlite"))
		c, err := new(sqlite.Driver).Open(f.Path(), opts)
		must(t, err)
		must(t, c.Exec("CREATE TABLE t(x); INSERT INTO t VALUES('old'); BEGIN; INSERT INTO t VALUES('more')"))
		if _, err := replace(f, finished(t, f.Path()), true); !errors.Is(err, ErrLocked) {
			t.Errorf("in a transaction: %v", err)
		}
		must(t, c.Exec("COMMIT"))
		if !opts.KeepJournal {
			if _, err := replace(f, finished(t, f.Path()), true); !errors.Is(err, ErrLocked) {
				t.Errorf("open: %v", err)
			}
		}
		must(t, c.Close())
		if got := read(t, f.Path(), content); got != "old,more" {
			t.Errorf("it holds %q", got)
		}
	}
}

// TestReplaceDead: what a dead program has left in its WAL comes home before the
// file is replaced, or stays with it.
func TestReplaceDead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sqlite")
	c, err := new(sqlite.Driver).Open(filepath.Join(t.TempDir(), "alive.sqlite"), sqlite.Options{})
	must(t, err)
	defer c.Close()
	must(t, c.Exec("CREATE TABLE t(x); INSERT INTO t VALUES('old')"))
	from, err := c.Text("SELECT file FROM pragma_database_list")
	must(t, err)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		text, err := os.ReadFile(from + suffix)
		must(t, err)
		write(t, path+suffix, string(text))
	}
	f := take(t, path)
	held, err := takeExclusively(path)
	must(t, err)
	must(t, held.removeSides(path))
	must(t, held.close())
	if got := read(t, path, content); got != "old" {
		t.Errorf("brought home: %q", got)
	}
	if _, err := replace(f, finished(t, path), true); err != nil || read(t, path, content) != "new" {
		t.Error(err)
	}
}
