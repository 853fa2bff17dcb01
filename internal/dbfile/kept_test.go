package dbfile

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// replaceKeeping is replace by a database that says text, and keeps the old one.
func replaceKeeping(t *testing.T, f *File, text string) Replaced {
	t.Helper()
	w := finished(t, f.Path())
	database(t, w.Path(), sqlite.Options{MustExist: true, KeepJournal: true}, "UPDATE t SET x = '"+text+"'")
	must(t, f.Free(true))
	r, err := f.Replace(w, true)
	must(t, err)
	f.DropKept(r.Kept)
	return r
}

// keptIn are the names of the databases that are kept in a folder.
func keptIn(t *testing.T, dir string) []string {
	t.Helper()
	return slices.DeleteFunc(names(t, dir), func(name string) bool { return !strings.Contains(name, keptSuffix) })
}

// TestKept: a replaced database is kept until the next one is, whole, and with its owner
// and mode; and it can be put back, and that be undone.
func TestKept(t *testing.T) {
	f := take(t, filepath.Join(t.TempDir(), "app.sqlite"))
	dir := filepath.Dir(f.Path())
	if _, err := f.Revert(); !errors.Is(err, ErrNoneKept) && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing to go back to: %v", err)
	}
	if r := replaceKeeping(t, f, "one"); r.Kept != "" {
		t.Errorf("kept %q, and there was nothing", r.Kept)
	}
	if _, err := f.Revert(); !errors.Is(err, ErrNoneKept) || read(t, f.Path(), content) != "one" {
		t.Errorf("nothing is kept: %v", err)
	}
	write(t, f.Path()+".replaced-notes", "theirs")
	must(t, os.Chmod(f.Path(), 0o640))
	database(t, f.Path(), sqlite.Options{}, "UPDATE t SET x = 'one more'") // in WAL mode from here on
	first := replaceKeeping(t, f, "two")
	if read(t, first.Kept, content) != "one more" || read(t, f.Path(), content) != "two" {
		t.Errorf("kept %s, in the place %s", read(t, first.Kept, content), read(t, f.Path(), content))
	}
	if info, err := os.Stat(first.Kept); err != nil || info.Mode().Perm() != 0o640 && runtime.GOOS != "windows" {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
	if name, size := f.Kept(); name != first.Kept || size == 0 {
		t.Errorf("kept: %s, %d bytes", name, size)
	}
	second := replaceKeeping(t, f, "three")
	if left := keptIn(t, dir); len(left) != 1+1 || read(t, second.Kept, content) != "two" {
		t.Errorf("kept: %q", left)
	}
	for _, want := range []string{"two", "three", "two"} {
		if _, err := f.Revert(); err != nil || read(t, f.Path(), content) != want {
			t.Fatalf("to %s: %v", want, err)
		}
	}
	must(t, os.Remove(f.Path())) // the user has thrown it away
	if _, err := f.Revert(); err != nil || read(t, f.Path(), content) != "three" {
		t.Errorf("without a file: %v", err)
	}
	if left := keptIn(t, dir); !slices.Equal(left, []string{"app.sqlite.replaced-notes"}) {
		t.Errorf("left: %q", left)
	}
}

// TestKeptInUse: a program that has a kept database open keeps it, and nothing is lost that
// it has written.
func TestKeptInUse(t *testing.T) {
	f := take(t, filepath.Join(t.TempDir(), "app.sqlite"))
	replaceKeeping(t, f, "one")
	first := replaceKeeping(t, f, "two")
	c, err := sqlite.Open(first.Kept, sqlite.Options{})
	must(t, err)
	defer c.Close()
	must(t, c.Exec("INSERT INTO t VALUES('and more')"))
	if _, err := f.Revert(); !errors.Is(err, ErrLocked) || read(t, f.Path(), content) != "two" {
		t.Errorf("Revert: %v", err)
	}
	second := replaceKeeping(t, f, "three")
	if read(t, first.Kept, content) != "one,and more" || read(t, second.Kept, content) != "two" {
		t.Errorf("kept %s, and then %s", read(t, first.Kept, content), read(t, second.Kept, content))
	}
	must(t, c.Close())
	third := replaceKeeping(t, f, "four")
	if left := keptIn(t, filepath.Dir(f.Path())); !slices.Equal(left, []string{filepath.Base(third.Kept)}) {
		t.Errorf("left: %q", left)
	}
}

// TestKeptTwin: a process has died between the two renames, or rather before the second:
// its database has two names. The next Take removes the second.
func TestKeptTwin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sqlite")
	database(t, path, sqlite.Options{}, "CREATE TABLE t(x); INSERT INTO t VALUES('old')")
	held, err := takeExclusively(path)
	must(t, err)
	name, err := held.retain(path)
	must(t, errors.Join(err, held.close()))
	other := filepath.Join(filepath.Dir(path), "their link")
	must(t, os.Link(path, other))
	f := take(t, path)
	if left := keptIn(t, filepath.Dir(path)); len(left) > 0 || read(t, f.Path(), content) != "old" {
		t.Errorf("left of %s: %q", name, left)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

// TestKeptCopy: without hard links, a copy is kept.
func TestKeptCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sqlite")
	database(t, path, sqlite.Options{}, "CREATE TABLE t(x); INSERT INTO t VALUES('old')")
	held, err := takeExclusively(path)
	must(t, err)
	name := path + keptSuffix + "20260131-180000.123"
	must(t, errors.Join(held.copyTo(path, name, errors.ErrUnsupported), held.close()))
	if read(t, name, content) != "old" {
		t.Errorf("the copy has %s", read(t, name, content))
	}
	if all := kept(path); !slices.Equal(all, []string{name}) {
		t.Errorf("kept: %q", all)
	}
	if _, err := os.Stat(path + workSuffix); err == nil {
		t.Error("the working folder is left")
	}
}
