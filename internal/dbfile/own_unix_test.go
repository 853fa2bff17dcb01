//go:build unix

package dbfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return info.Mode().Perm()
}

func withUmask(t *testing.T, umask int) {
	t.Helper()
	old := syscall.Umask(umask)
	t.Cleanup(func() { syscall.Umask(old) })
}

// giveAway gives a file to another user.
func giveAway(t *testing.T, path string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	must(t, os.Lchown(path, 1234, 1235))
}

// TestLockOtherName: a marker is written into no file that has another name, in this
// folder or in another one.
func TestLockOtherName(t *testing.T) {
	for what, theirs := range map[string]string{"beside it": "theirs", "elsewhere": "home/.profile"} {
		dir := t.TempDir()
		path, theirs := filepath.Join(dir, "app.sqlite"), filepath.Join(dir, theirs)
		write(t, theirs, "precious")
		must(t, os.Link(theirs, path+lockSuffix))
		_, err := Take(path)
		if !errors.Is(err, ErrNotOurs) || !strings.Contains(err.Error(), "2 names") {
			t.Errorf("%s: %v", what, err)
		}
		if text, err := os.ReadFile(theirs); err != nil || string(text) != "precious" {
			t.Errorf("%s: it is %q now (%v)", what, text, err)
		}
	}
}

// TestLockOfStranger: a lock that somebody else has made counts only where that one
// may write the database.
func TestLockOfStranger(t *testing.T) {
	for _, c := range []struct {
		what         string
		mode         fs.FileMode // of the database; 0: there is none
		file, folder bool        // are theirs, too
		refused      bool
	}{
		{what: "no database", refused: true},
		{what: "a private database", mode: 0o600, refused: true},
		{what: "one that others may read", mode: 0o644, refused: true},
		{what: "one that the group may write", mode: 0o660},
		{what: "their own", mode: 0o600, file: true},
		{what: "their folder", folder: true},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "app.sqlite")
		if c.mode != 0 {
			write(t, path, "")
			must(t, os.Chmod(path, c.mode))
		}
		write(t, path+lockSuffix, "")
		giveAway(t, path+lockSuffix)
		if c.file {
			giveAway(t, path)
		}
		if c.folder {
			giveAway(t, dir)
		}
		f, err := Take(path)
		if c.refused != errors.Is(err, ErrNotOurs) || !c.refused && err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if err == nil {
			must(t, f.Release())
		}
	}
}

// TestLockMode: whoever may write the database may lock it, and nobody else can keep
// its writers out.
func TestLockMode(t *testing.T) {
	for umask, want := range map[int]fs.FileMode{0o022: 0o600, 0o002: 0o660, 0o077: 0o600, 0: 0o666} {
		withUmask(t, umask)
		path := filepath.Join(t.TempDir(), "app.sqlite")
		f, err := Take(path)
		must(t, err)
		if got := modeOf(t, path+lockSuffix); got != 0o600 {
			t.Errorf("umask %o, no database yet: %o", umask, got)
		}
		must(t, f.Create())
		if file, lock := modeOf(t, path), modeOf(t, path+lockSuffix); file != 0o666&^fs.FileMode(umask) || lock != want {
			t.Errorf("umask %o: the database has %o, its lock %o", umask, file, lock)
		}
		must(t, f.Release())
	}
	path := filepath.Join(t.TempDir(), "app.sqlite")
	write(t, path, "")
	for mode, want := range map[fs.FileMode]fs.FileMode{0o600: 0o600, 0o640: 0o600, 0o660: 0o660, 0o444: 0o600} {
		must(t, os.Chmod(path, mode))
		f, err := Take(path)
		must(t, err)
		must(t, f.Release())
		if got := modeOf(t, path+lockSuffix); got != want {
			t.Errorf("a database with %o: its lock has %o", mode, got)
		}
	}
}

// TestMarkerStays: the marker goes into the file that is locked, whatever has its name by
// now.
func TestMarkerStays(t *testing.T) {
	for what, put := range map[string]func(theirs, lock string) error{"a link": os.Symlink, "a hard link": os.Link} {
		dir := t.TempDir()
		path, theirs := filepath.Join(dir, "app.sqlite"), filepath.Join(dir, "theirs")
		write(t, theirs, "precious")
		f := take(t, path)
		must(t, os.Remove(path+lockSuffix))
		must(t, put(theirs, path+lockSuffix))
		must(t, f.WriteMarker([]byte("mark")))
		b := make([]byte, 4)
		if err := f.ReadMarker(b); err != nil || string(b) != "mark" {
			t.Errorf("%s: the marker is %q (%v)", what, b, err)
		}
		if text, err := os.ReadFile(theirs); err != nil || string(text) != "precious" {
			t.Errorf("%s: it leads to %q now (%v)", what, text, err)
		}
	}
}

// TestWorkFolderOfStranger: nothing is put where a stranger could exchange it, and
// nothing is looked for there.
func TestWorkFolderOfStranger(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.sqlite")
	write(t, filepath.Join(path+workSuffix, "work-1", workFile), "theirs")
	must(t, os.Chmod(path+workSuffix, 0o777))
	giveAway(t, path+workSuffix)
	if _, err := NewWork(path); !errors.Is(err, ErrNotOurs) {
		t.Errorf("a working folder: %v", err)
	}
	take(t, path)
	wantNames(t, filepath.Join(path+workSuffix, "work-1"), workFile)
}

// TestReplaceMode: the file that is being made is the user's alone, and never wider
// than the one that it replaces, at no moment.
func TestReplaceMode(t *testing.T) {
	withUmask(t, 0)
	for _, mode := range []fs.FileMode{0o600, 0o640} {
		f := take(t, filepath.Join(t.TempDir(), "app.sqlite"))
		database(t, f.Path(), sqlite.Options{KeepJournal: true}, "CREATE TABLE t(x)")
		must(t, os.Chmod(f.Path(), mode))
		w := finished(t, f.Path())
		for path, want := range map[string]fs.FileMode{w.Path(): 0o600, filepath.Dir(w.Path()): 0o700, filepath.Dir(filepath.Dir(w.Path())): 0o700} {
			if got := modeOf(t, path); got != want {
				t.Errorf("%s has %o", path, got)
			}
		}
		stop, wider := make(chan struct{}), make(chan fs.FileMode)
		go func() {
			var seen fs.FileMode
			for {
				for _, path := range []string{f.Path(), w.Path()} {
					if info, err := os.Lstat(path); err == nil {
						seen |= info.Mode().Perm() &^ mode
					}
				}
				select {
				case <-stop:
					wider <- seen
					return
				default:
				}
			}
		}()
		_, err := replace(f, w, true)
		close(stop)
		if seen := <-wider; err != nil || seen != 0 || modeOf(t, f.Path()) != mode || read(t, f.Path(), content) != "new" {
			t.Errorf("%o: %v, wider by %o, %o in the end", mode, err, seen, modeOf(t, f.Path()))
		}
	}
}

// TestTempName: where a stranger has taken the name of our folder for temporary files,
// or has put a pipe there, another one is found, and found again.
func TestTempName(t *testing.T) {
	for what, put := range map[string]func(string) error{
		"an open folder": func(name string) error { return errors.Join(os.Mkdir(name, 0o777), os.Chmod(name, 0o777)) },
		"a pipe":         func(name string) error { return syscall.Mkfifo(name, 0o666) },
		"a link":         func(name string) error { return os.Symlink(t.TempDir(), name) },
	} {
		t.Setenv("TMPDIR", t.TempDir())
		w, err := NewTemp()
		must(t, err)
		name := filepath.Dir(filepath.Dir(w.Path()))
		must(t, w.Close())
		must(t, put(name))
		left, err := NewTemp()
		must(t, err)
		must(t, left.lock.Close()) // as a crash does
		if filepath.Dir(filepath.Dir(left.Path())) == name {
			t.Errorf("%s: it was used", what)
		}
		next, err := NewTemp()
		must(t, err)
		if _, err := os.Lstat(left.Path()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: what a crash has left there stays: %v", what, err)
		}
		must(t, next.Close())
	}
}

// TestSidesOfStranger: a stranger's WAL or journal is not written into the database,
// and one with pages in it is not thrown away either.
func TestSidesOfStranger(t *testing.T) {
	wal := walOf(t, "INSERT INTO t VALUES('theirs')")
	for _, c := range []struct {
		suffix, text string
		mode         fs.FileMode // of the database
		aside        int
		refused      bool
	}{
		{"-wal", wal, 0o644, 0, true},
		{"-wal", wal, 0o664, 0, false},
		{"-wal", "", 0o644, 1, false},
		{"-journal", journalMagic + "and pages", 0o600, 0, true},
		{"-journal", "\x00\x00\x00\x00", 0o600, 1, false},
		{"-shm", "index", 0o600, 1, false},
	} {
		path := filepath.Join(t.TempDir(), "app.sqlite")
		database(t, path, sqlite.Options{}, "CREATE TABLE t(x)")
		must(t, os.Chmod(path, c.mode))
		write(t, path+c.suffix, c.text)
		giveAway(t, path+c.suffix)
		aside, err := SetAside(path)
		if c.refused != errors.Is(err, ErrNotOurs) || !c.refused && err != nil || len(aside) != c.aside {
			t.Errorf("%s with %d bytes beside a database with %o: set aside %q, %v", c.suffix, len(c.text), c.mode, aside, err)
		}
	}
}

// TestLockEndsForAll: when a lock is closed it is free, even while a process that is just
// being started holds copies of this one's descriptors.
func TestLockEndsForAll(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x-lock")
	l, err := tryLock(name)
	must(t, err)
	conn, err := l.file.SyscallConn()
	must(t, err)
	child := -1
	must(t, conn.Control(func(fd uintptr) { child, err = syscall.Dup(int(fd)) }))
	must(t, err)
	defer syscall.Close(child)
	must(t, l.Close())
	next, err := tryLock(name)
	must(t, err)
	must(t, next.Close())
}

// TestLookIsNoHolder: whoever only looks at a lock keeps nobody from it. The look is held up, as by
// a machine that has much to do.
func TestLookIsNoHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sqlite")
	f, err := Take(path) // makes the lock
	must(t, err)
	must(t, f.Release())
	look, err := os.Open(path + lockSuffix)
	must(t, err)
	defer look.Close()
	must(t, tryFlock(look, syscall.LOCK_SH))
	time.AfterFunc(time.Millisecond, func() {
		if err := unlockFile(look); err != nil {
			t.Error(err)
		}
	})
	f, err = Take(path)
	must(t, err)
	must(t, f.Release())
}
