package dbfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write makes a file that holds text, and the folders on the way.
func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// names are those in a folder, sorted.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// wantNames fails unless the folder holds exactly these.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("in %s: %q, want %q", dir, got, want)
	}
}

// database makes a database at path by a script.
func database(t *testing.T, path string, opts sqlite.Options, script string) {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, opts)
	must(t, err)
	must(t, errors.Join(c.Exec(script), c.Close()))
}

// read returns the only value that a query of the database at path yields.
func read(t *testing.T, path, query string) string {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
	must(t, err)
	text, err := c.Text(query)
	must(t, errors.Join(err, c.Close()))
	return text
}

// take takes a place until the test ends.
func take(t *testing.T, path string) *File {
	t.Helper()
	f, err := Take(path)
	must(t, err)
	t.Cleanup(func() {
		if err := f.Release(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// TestResolve: one file has one path, also before it is there.
func TestResolve(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	must(t, os.MkdirAll(at("real/deep"), 0o755))
	for link, target := range map[string]string{
		"folder":          "real",
		"real/later":      "deep/app.sqlite",      // which is not there yet
		"chain":           at("folder/later"),     // a link to a link, through a linked folder
		"real/deep/up":    "../../folder/../back", // .. of a link's target, not of the link
		"back":            "real/app.sqlite",
		"unmounted":       at("disk/app.sqlite"),
		"gone":            at("nowhere"),
		"circle":          "circle",
		"real/deep/plain": "other.sqlite",
	} {
		dbtest.Symlink(t, filepath.FromSlash(target), at(link))
	}
	for path, want := range map[string]string{
		"real/app.sqlite":         "real/app.sqlite",
		"folder/app.sqlite":       "real/app.sqlite",
		"folder/new/a/app.sqlite": "real/new/a/app.sqlite",
		"real/later":              "real/deep/app.sqlite",
		"chain":                   "real/deep/app.sqlite",
		"real/deep/up":            "real/app.sqlite",
		"real/deep/plain":         "real/deep/other.sqlite",
		"unmounted":               "",
		"gone/app.sqlite":         "",
		"circle":                  "",
	} {
		got, err := Resolve(at(path))
		if want == "" {
			if err == nil {
				t.Errorf("%s: %s, which has no place", path, got)
			}
			continue
		}
		if err != nil || got != at(want) {
			t.Errorf("%s: %s, %v; want %s", path, got, err, at(want))
		}
	}
	t.Chdir(at("real"))
	if got, err := Resolve("deep/../app.sqlite"); err != nil || got != at("real/app.sqlite") {
		t.Errorf("relative: %s, %v", got, err)
	}
}

// TestTakeLinks: two names of one place, whose file is not there yet, are one.
func TestTakeLinks(t *testing.T) {
	dir := t.TempDir()
	dbtest.Symlink(t, "app.sqlite", filepath.Join(dir, "link"))
	take(t, filepath.Join(dir, "link"))
	if _, err := Take(filepath.Join(dir, "app.sqlite")); !errors.Is(err, ErrLocked) {
		t.Errorf("a second one: %v", err)
	}
}

// TestNotFile: what is no file is refused, and left alone.
func TestNotFile(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	if _, err := Take(filepath.Join(dir, "folder")); !errors.Is(err, ErrNotFile) {
		t.Errorf("a folder: %v", err)
	}
	wantNames(t, dir, "folder")
}

// TestAbandon: a place that came to nothing is as it was before.
func TestAbandon(t *testing.T) {
	dir := t.TempDir()
	f, err := Take(filepath.Join(dir, "a", "b", "app.sqlite"))
	must(t, err)
	must(t, f.Create())
	must(t, f.Abandon())
	wantNames(t, dir)

	write(t, filepath.Join(dir, "app.sqlite"), "")
	if f, err = Take(filepath.Join(dir, "c", "app.sqlite")); err == nil {
		write(t, filepath.Join(dir, "c", "mine"), "somebody's")
		err = f.Abandon()
	}
	must(t, err)
	wantNames(t, dir, "app.sqlite", "c")
	wantNames(t, filepath.Join(dir, "c"), "mine")
}

// TestHold: one file under two names is one database.
func TestHold(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.sqlite"), filepath.Join(dir, "b.sqlite")
	f := take(t, a)
	must(t, f.Create())
	must(t, os.Link(a, b))
	c, err := new(sqlite.Driver).Open(a, sqlite.Options{MustExist: true, Claim: f.Hold})
	must(t, err)
	must(t, c.Exec("CREATE TABLE t(x)"))
	g := take(t, b)
	if err := lockHandle(f.handle); err != nil && runtime.GOOS != "windows" { // where a handle locks a byte once
		t.Fatal("our own lock is in our way:", err)
	}
	open := func() error {
		c, err := new(sqlite.Driver).Open(b, sqlite.Options{MustExist: true, Claim: g.Hold})
		if err == nil {
			err = errors.Join(g.Unhold(), c.Close())
		}
		return err
	}
	if err := open(); holds && !errors.Is(err, ErrLocked) {
		t.Errorf("by the other name: %v", err)
	}
	must(t, errors.Join(f.Unhold(), c.Close()))
	if err := open(); err != nil {
		t.Errorf("when the first is closed: %v", err)
	}
}

// TestCheck: whatever becomes of the files is seen.
func TestCheck(t *testing.T) {
	for what, change := range map[string]func(path string) error{
		"deleted": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+"2", nil, 0o600), os.Rename(path+"2", path))
		},
		"folder renamed": func(path string) error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+"2") },
		"-wal deleted":   func(path string) error { return os.Remove(path + "-wal") },
		"-shm deleted":   func(path string) error { return os.Remove(path + "-shm") },
		"-lock deleted":  func(path string) error { return os.Remove(path + "-lock") },
		"nothing":        nil,
	} {
		f := take(t, filepath.Join(t.TempDir(), "d", "app.sqlite"))
		must(t, f.Create())
		c, err := new(sqlite.Driver).Open(f.Path(), sqlite.Options{MustExist: true, Claim: f.Hold})
		must(t, err)
		must(t, c.Exec("CREATE TABLE t(x)"))
		must(t, f.Watch())
		if change != nil {
			err := change(f.Path())
			if err != nil && runtime.GOOS == "windows" { // which renames and removes nothing that is open
				change = nil
			} else {
				must(t, err)
			}
		}
		if err := f.Check(); errors.Is(err, ErrReplaced) != (change != nil) {
			t.Errorf("%s: %v", what, err)
		}
		must(t, errors.Join(f.Unhold(), c.Close()))
	}
}

// TestCheckSize: a truncated file is found so at each call, not only at the first.
func TestCheckSize(t *testing.T) {
	for _, part := range []int64{0, 2} { // nothing of it stays, or a half
		f := take(t, filepath.Join(t.TempDir(), "app.sqlite"))
		must(t, f.Create())
		c, err := new(sqlite.Driver).Open(f.Path(), sqlite.Options{MustExist: true, Claim: f.Hold})
		must(t, err)
		must(t, errors.Join(c.Exec("CREATE TABLE t(x)"), c.Exec("PRAGMA wal_checkpoint(TRUNCATE)"), f.Watch(), f.CheckSize(false)))
		size, err := sizeOf(f.Path())
		must(t, err)
		if part > 0 {
			size /= part
		} else {
			size = 0
		}
		must(t, os.Truncate(f.Path(), size))
		if err := f.CheckSize(false); errors.Is(err, ErrReplaced) != (size == 0) { // a half may be a checkpoint that runs
			t.Errorf("%d bytes, first: %v", size, err)
		}
		for _, atOnce := range []bool{false, true, false} {
			if err := f.CheckSize(atOnce); !errors.Is(err, ErrReplaced) {
				t.Errorf("%d bytes, at once %v: %v", size, atOnce, err)
			}
		}
		must(t, errors.Join(f.Unhold(), c.Close()))
	}
}

// TestLeftovers: what crashes leave is removed, and nothing else.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.sqlite")
	base := path + workSuffix
	write(t, filepath.Join(base, "work-1", workFile), "half a copy")
	write(t, filepath.Join(base, "work-2", workFile+"-journal"), "half a copy")
	write(t, filepath.Join(base, "work-3", workLock), "")
	must(t, os.MkdirAll(filepath.Join(base, "work-4"), 0o700))
	theirs := []string{"work-5/notes.txt", "work-x/" + workFile, "work-/" + workFile, "work-6/" + workFile + "/x", "mine/" + workFile, "a file"}
	for _, name := range theirs {
		write(t, filepath.Join(base, filepath.FromSlash(name)), "precious")
	}
	beside := []string{path + "-driftdb-snapshots", path + "-driftdb-restore-2026", path + "-driftdb2"}
	for _, name := range beside {
		write(t, filepath.Join(name, "precious"), "precious")
	}
	busy, err := NewWork(path)
	must(t, err)
	f := take(t, path)
	wantNames(t, base, "work-5", "work-x", "work-", "work-6", "mine", "a file", workLock, filepath.Base(busy.dir))
	for _, name := range theirs {
		if _, err := os.Stat(filepath.Join(base, filepath.FromSlash(name))); err != nil {
			t.Error(err)
		}
	}
	for _, name := range beside {
		wantNames(t, name, "precious")
	}
	must(t, busy.Close())
	must(t, os.RemoveAll(base))
	w, err := NewWork(f.Path())
	must(t, err)
	must(t, w.Close())
	if _, err := os.Stat(base); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of working folders stays when the last is gone: %v", err)
	}
}

// TestSetAside: SQLite does not get what was not made for the database.
func TestSetAside(t *testing.T) {
	wal := walOf(t, "INSERT INTO t VALUES('in the WAL')")
	wal512 := walOf(t, "PRAGMA page_size=512; VACUUM; PRAGMA journal_mode=WAL; INSERT INTO t VALUES('x')")
	for _, c := range []struct {
		what, base, suffix, text string
		aside                    bool
	}{
		{"a WAL without a database", "", "-wal", wal, true},
		{"a WAL beside an empty file", "empty", "-wal", wal, true},
		{"a WAL beside a database that uses a journal", "journal", "-wal", wal, true},
		{"a WAL of another page size", "wal", "-wal", wal512, true},
		{"a WAL that may be its own", "wal", "-wal", wal, false},
		{"a WAL beside a database that a checkpoint was cut short in", "half", "-wal", wal, false},
		{"an empty WAL", "", "-wal", "", false},
		{"a journal without a database", "", "-journal", "anything", true},
		{"a journal that is none", "journal", "-journal", "SQLite format 3\x00", true},
		{"a journal", "journal", "-journal", journalMagic + "and so on", false},
		{"a journal that was ended", "journal", "-journal", strings.Repeat("\x00", 512), false},
		{"shared memory without a database", "", "-shm", "anything", true},
		{"shared memory beside a database", "wal", "-shm", "anything", false},
		{"a WAL beside what is no database", "text", "-wal", wal, true},
	} {
		path := filepath.Join(t.TempDir(), "app.sqlite")
		switch c.base {
		case "empty":
			write(t, path, "")
		case "text":
			write(t, path, strings.Repeat("no database ", 1000))
		case "journal":
			database(t, path, sqlite.Options{KeepJournal: true}, "CREATE TABLE t(x)")
		case "wal":
			database(t, path, sqlite.Options{}, "CREATE TABLE t(x)")
		case "half":
			database(t, path, sqlite.Options{}, "CREATE TABLE t(x); CREATE TABLE u(x); CREATE TABLE v(x)")
			must(t, os.Truncate(path, 2*4096))
		}
		write(t, path+c.suffix, c.text)
		aside, err := SetAside(path)
		must(t, err)
		if (len(aside) == 1) != c.aside {
			t.Errorf("%s: set aside %q", c.what, aside)
			continue
		}
		file := path + c.suffix
		if c.aside {
			file = aside[0]
		}
		if text, err := os.ReadFile(file); err != nil || string(text) != c.text {
			t.Errorf("%s: it holds something else now (%v)", c.what, err)
		}
	}
}

// walOf is the WAL that a script leaves behind.
func walOf(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.sqlite")
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{})
	must(t, err)
	defer c.Close()
	for _, statement := range strings.SplitAfter("CREATE TABLE t(x);"+script, ";") {
		if strings.Contains(statement, "page_size") {
			must(t, c.Exec("PRAGMA journal_mode=DELETE"))
		}
		must(t, c.Exec(statement))
	}
	text, err := os.ReadFile(path + "-wal")
	must(t, err)
	if len(text) == 0 {
		t.Fatal("the script left no WAL")
	}
	return string(text)
}
