package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Free reports whether the place may get a new file. fs.ErrExist means that a file is there
// and must not be overwritten. To overwrite a file, we must be able to give the new file the
// owner of the old one. Replace replaces only the file that Free allowed.
func (f *File) Free(overwrite bool) error {
	info, err := os.Lstat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.old = ID{}
		return nil
	case err != nil:
		return err
	case !overwrite:
		return fmt.Errorf("%s: %w (choose another file, or allow overwriting)", f.path, fs.ErrExist)
	case !info.Mode().IsRegular():
		return checkRegular(f.path)
	}
	if f.old, err = identify(f.path); err != nil {
		return err
	}
	if f.held != (ID{}) && f.held != f.old { // it was inspected before, and is another file now
		return f.meanwhile()
	}
	return mayKeepOwner(f.path, info)
}

// unchanged returns an error unless the place is empty or has the file that Free saw there.
func (f *File) unchanged() error {
	now, err := identify(f.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now == f.old {
		return nil
	}
	if err == nil {
		err = f.meanwhile()
	}
	return err
}

func (f *File) meanwhile() error {
	return fmt.Errorf("%s appeared in the meantime and was left alone: %w", f.path, fs.ErrExist)
}

// Replaced says what has become of the files that were in a place.
type Replaced struct {
	Aside []string // the new names of stray files
	Kept  string   // where the old database is now; "" if it was not to be kept, or there was none
}

// Replace moves the finished database of a working folder to f's place, which Free has
// allowed. If keep is set, the old database is kept until the next Replace that keeps one.
//
// However it ends, by success, failure or death, the place has either the old database with
// everything in its WAL, or the new one, because each step keeps it whole:
//
//  1. Files beside it that are not its own get another name.
//  2. SQLite's exclusive lock shows that no program has the old database open, and keeps
//     others out. Its WAL is checkpointed, so that its -wal and -shm can go.
//  3. If it is to be kept, it gets a second name: see retain.
//  4. One rename puts the new file in the place of the old.
func (f *File) Replace(w *Work, keep bool) (Replaced, error) {
	if err := syncFile(w.Path()); err != nil {
		return Replaced{}, err
	}
	return f.replace(w.Path(), keep, func() error { return w.put(f.path) })
}

// replace puts the file in f's place, by put if the place is empty.
func (f *File) replace(file string, keep bool, put func() error) (r Replaced, err error) {
	if err := f.unchanged(); err != nil {
		return r, err
	}
	if r.Aside, err = SetAside(f.path); err != nil {
		return r, errors.Join(err, putBack(r.Aside))
	}
	_, err = os.Lstat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = put()
	} else if err == nil {
		r.Kept, err = f.exchange(file, keep)
	}
	if err != nil {
		return Replaced{}, errors.Join(err, putBack(r.Aside))
	}
	return r, errors.Join(syncFolder(filepath.Dir(f.path)), f.shareLock())
}

// put gives the database a free name, and the mode of any new file. If another program takes
// the name meanwhile, the name stays with that program.
func (w *Work) put(path string) error {
	if err := os.Chmod(w.Path(), w.mode); err != nil {
		return err
	}
	err := os.Link(w.Path(), path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Rename(w.Path(), path) // a file system without hard links
}

// exchange replaces the file at f's place, and returns where the old one is if it is kept.
func (f *File) exchange(file string, keep bool) (kept string, err error) {
	held, err := takeExclusively(f.path)
	if err != nil {
		return "", err
	}
	if err := f.unchanged(); err != nil { // still unchanged: from here on SQLite has it locked
		return "", errors.Join(err, held.close())
	}
	defer func() { err = errors.Join(err, held.close()) }()
	if err := inherit(file, f.path); err != nil {
		return "", err
	}
	if err := syncFile(file); err != nil {
		return "", err
	}
	if keep {
		if kept, err = held.retain(f.path); err != nil {
			return "", fmt.Errorf("%s is unchanged, because it cannot be kept: %w", f.path, err)
		}
	}
	err = held.removeSides(f.path)
	if err == nil {
		if err = rename(file, f.path); err != nil {
			err = fmt.Errorf("%s is unchanged, because it cannot be replaced: %w%s", f.path, err, mountHint(err))
		}
	}
	if err != nil && kept != "" {
		err = errors.Join(err, os.Remove(kept))
	}
	if err != nil {
		return "", err
	}
	return kept, nil
}

// inherit gives the new file the owner, group, mode and access control list of the old one.
// Until then only the user can read it, in a folder of the user's: at no moment can anyone read
// it who could not read the old one.
func inherit(file, path string) error {
	old, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if err := keepOwner(file, old); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := keepACL(file, path); err != nil {
		return err
	}
	return os.Chmod(file, old.Mode().Perm())
}

// exclusive is a database that no other program can use. The zero value is a file that is not
// a database.
type exclusive struct {
	c      *sqlite.Conn
	handle uintptr
}

// claim locks the file, which may be in use under another name, before SQLite looks at the
// files beside this one.
func (e *exclusive) claim(c *sqlite.Conn) error {
	handle, err := c.Handle()
	if err != nil {
		return err
	}
	e.handle = handle
	if err = lockHandle(handle); errors.Is(err, errHeld) {
		err = fmt.Errorf("%w under another name", ErrLocked)
	}
	return err
}

// busyTimeout is how long another program may take to release the file.
const busyTimeout = 2 * time.Second

// takeExclusively takes SQLite's exclusive lock on the database at path and copies its WAL or
// journal back into it. A file that is not a database has no users of a database.
//
// Every program that has read a WAL database since opening it holds a lock that blocks this
// one. A program that has a rollback-journal database open but idle holds none, and cannot be
// noticed.
func takeExclusively(path string) (exclusive, error) {
	var e exclusive
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{
		MustExist: true, KeepJournal: true, Exclusive: true, Synchronous: sqlite.SyncFull, BusyTimeout: busyTimeout, Claim: e.claim,
	})
	if err == nil {
		e.c = c
		err = c.Exec("BEGIN EXCLUSIVE; ROLLBACK; PRAGMA wal_checkpoint(TRUNCATE)")
		if err == nil {
			return e, nil
		}
		err = errors.Join(err, e.close())
	}
	switch {
	case sqlite.IsNotDatabase(err):
		return exclusive{}, nil
	case errors.Is(err, ErrLocked):
		return exclusive{}, err
	case sqlite.IsBusy(err):
		return exclusive{}, fmt.Errorf("%w: another program has %s open; close it and try again: %w", ErrLocked, path, err)
	}
	return exclusive{}, fmt.Errorf("lock %s before it is replaced: %w", path, err)
}

// removeSides removes SQLite's files beside the database, which holds all their contents by
// now: its -wal is empty. On Windows, where an open file keeps its name, it ends the lock
// first. A file that another program opens after that cannot be removed, and the database
// cannot be replaced while it is open.
func (e *exclusive) removeSides(path string) error {
	if e.c == nil {
		return nil
	}
	if runtime.GOOS == "windows" {
		if err := e.close(); err != nil {
			return err
		}
	}
	if info, err := os.Lstat(path + "-wal"); err == nil && info.Size() > 0 {
		return fmt.Errorf("%s could not be copied back into the database", path+"-wal")
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := checkRegular(path + suffix); err != nil {
			return err
		}
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// close ends the lock. SQLite sees that its file has lost its name, and leaves alone the files
// beside the file that has the name now.
func (e *exclusive) close() error {
	if e.c == nil {
		return nil
	}
	c := e.c
	e.c = nil
	return errors.Join(unlockHandle(e.handle), c.Close())
}

// putBack undoes SetAside.
func putBack(aside []string) error {
	var errs []error
	for _, name := range aside {
		errs = append(errs, os.Rename(name, nameBefore(name)))
	}
	return errors.Join(errs...)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
