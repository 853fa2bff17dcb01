package doctor_test

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/doctor"
	"github.com/driftdb/driftdb-go/internal/mounttest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestFaultsOfThePlace: links, locks and modes.
func TestFaultsOfThePlace(t *testing.T) {
	for _, f := range []fault{
		{name: "symbolic link", line: "file names", status: doctor.Warning, found: "is a symbolic link to", remedy: "by its own path",
			plant: func(w *ward) {
				w.cfg.Path = filepath.Join(w.t.TempDir(), "link.sqlite")
				systemtest.Check(w.t, os.Symlink(w.open.Path, w.cfg.Path))
			}},
		{name: "hard link", line: "file names", status: doctor.Warning, found: "2 names", remedy: "find / -samefile",
			plant: func(w *ward) { systemtest.Check(w.t, os.Link(w.open.Path, w.open.Path+"2")) }},
		{name: "lock with two names", line: "file lock", status: doctor.Failed, found: "2 names", remedy: "-lock",
			plant: func(w *ward) { systemtest.Check(w.t, os.Link(w.open.Path+"-lock", w.open.Path+"-lock2")) }},
		{name: "everybody may write", line: "file access", status: doctor.Warning, found: "every user", remedy: "chmod o-w",
			plant: func(w *ward) { systemtest.Check(w.t, os.Chmod(w.open.Path, 0o666)) }},
		{name: "replaced while open", line: "file shutdown", status: doctor.Failed, found: "has another file open", remedy: "close that program",
			plant: func(w *ward) {
				stayOpen(w)
				systemtest.Check(w.t, systemtest.CopyFile(w.open.Path, w.open.Path+".new"))
				systemtest.Check(w.t, os.Rename(w.open.Path+".new", w.open.Path))
			}},
		{name: "-shm deleted while open", line: "file side files", status: doctor.Failed, found: "-wal or -shm is gone", remedy: "close the program",
			plant: func(w *ward) {
				stayOpen(w)
				systemtest.Check(w.t, os.Remove(w.open.Path+"-shm"))
			}},
	} {
		t.Run(f.name, f.try)
	}
}

// stayOpen keeps the database open until the test ends.
func stayOpen(w *ward) {
	w.t.Helper()
	db := systemtest.Must(driftdb.Open(w.t.Context(), w.open))
	w.t.Cleanup(func() { _ = db.Close() }) // what the test has done to the file may be an error
}

// TestInUse: nothing is wrong with a database that a program has open, or opens or closes.
func TestInUse(t *testing.T) {
	for _, use := range []struct {
		by     func(*ward)
		status doctor.Status
		found  string
	}{
		{stayOpen, doctor.OK, "in use"},
		{holdLock, doctor.NotTried, "opening or closing"},
	} {
		w := newWard(t, nil, nil)
		use.by(w)
		found := w.examine()
		for line, f := range found {
			if f.Status != doctor.OK && f.Status != doctor.NotTried {
				t.Errorf("%s: %+v", line, f)
			}
		}
		if f := found["file lock"]; f.Status != doctor.OK || !strings.Contains(f.Found, "has the database open for writing") {
			t.Errorf("a held lock: %+v", f)
		}
		if f := found["file shutdown"]; f.Status != use.status || !strings.Contains(f.Found, use.found) {
			t.Errorf("%+v, want %s, %s", f, use.status, use.found)
		}
	}
}

// TestBegins: a program that begins while the doctor looks was not killed.
func TestBegins(t *testing.T) {
	w := newWard(t, nil, nil)
	err := doctor.Examine(t.Context(), w.cfg, func(f doctor.Finding) {
		if f.Check == "lock" {
			stayOpen(w)
		}
		if f.Status != doctor.OK && f.Status != doctor.NotTried {
			t.Errorf("%+v", f)
		}
	})
	systemtest.Check(t, err)
}

// TestMeanwhile: a program that closes the database, or opens it, while the doctor has it open
// finds nothing strange about it, then and at the next Open.
func TestMeanwhile(t *testing.T) {
	w := newWard(t, nil, nil)
	var said []string
	w.open.OnEvent = func(e driftdb.Event) {
		if e.Level >= slog.LevelWarn {
			said = append(said, fmt.Sprint(e.Kind, ": ", e.Message))
		}
	}
	for _, openBefore := range []bool{true, false} {
		var db *driftdb.DB
		if openBefore {
			db = systemtest.Must(driftdb.Open(t.Context(), w.open))
		}
		err := doctor.Examine(t.Context(), w.cfg, func(f doctor.Finding) {
			if f.Check != "header" {
				return
			}
			if !openBefore {
				db = systemtest.Must(driftdb.Open(t.Context(), w.open))
			}
			systemtest.Exec(t, db, "INSERT INTO t(x) VALUES('meanwhile')")
			if openBefore {
				systemtest.Check(t, db.Close())
			}
		})
		systemtest.Check(t, err)
		if !openBefore {
			systemtest.Check(t, db.Close())
		}
		w.write("INSERT INTO t(x) VALUES('afterwards')")
	}
	if len(said) > 0 {
		t.Errorf("it is told of %q", said)
	}
}

// holdLock holds the database's lock, as a process that is about to open it does.
func holdLock(w *ward) {
	w.t.Helper()
	lock := systemtest.Must(os.OpenFile(w.open.Path+"-lock", os.O_RDWR, 0))
	systemtest.Check(w.t, unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	w.t.Cleanup(func() { _ = lock.Close() })
}

// TestFaultsOfTheDisk: a disk that is nearly full, and one that becomes read-only.
func TestFaultsOfTheDisk(t *testing.T) {
	dir := mounttest.Disk(t, "size=24m")
	if dir == "" {
		return
	}
	disk := filepath.Join(dir, "disk")
	on := func(cfg *driftdb.Config) {
		cfg.Path = filepath.Join(systemtest.Must(os.MkdirTemp(disk, "")), "app.sqlite")
	}
	remount := func(w *ward) {
		if out, err := exec.Command("mount", "-o", "remount,ro", disk).CombinedOutput(); err != nil {
			w.t.Fatalf("the disk cannot be made read-only: %v: %s", err, out)
		}
	}
	for _, f := range []fault{
		{name: "nearly full", line: "file space", status: doctor.Failed, found: "about to fail", remedy: "make room", change: on,
			plant: func(w *ward) {
				systemtest.Check(w.t, os.WriteFile(filepath.Join(disk, "ballast"), make([]byte, 12<<20), 0o600))
				w.t.Cleanup(func() { _ = os.Remove(filepath.Join(disk, "ballast")) })
			}},
		{name: "full", line: "file disk", status: doctor.Failed, found: "no space left", remedy: "make room", change: on,
			plant: func(w *ward) {
				_ = os.WriteFile(filepath.Join(disk, "ballast"), make([]byte, 32<<20), 0o600)
				w.t.Cleanup(func() { _ = os.Remove(filepath.Join(disk, "ballast")) })
			}},
		{name: "read-only", line: "file access", status: doctor.Failed, found: "the folder", remedy: "mount", change: on, plant: remount},
	} {
		t.Run(f.name, f.try)
	}
}
