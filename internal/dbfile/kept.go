package dbfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A database that was replaced can be kept beside the one that has taken its place. It is
// whole without other files. The user can put it back: see Revert. It is removed when the next
// one is kept.
//
// To be kept, a database gets a second name before the new database gets its first: so at any
// moment there is a whole one in the place. If the process dies in between, the database has
// two names, and the next Take removes the second.

// The name of a kept database is that of its place with this suffix and the time, in UTC.
const (
	keptSuffix = ".replaced-"
	keptTime   = "20060102-150405.000"
)

// ErrNoneKept means that there is no replaced database to go back to. It is an fs.ErrNotExist.
var ErrNoneKept = fmt.Errorf("no replaced database is kept beside it: %w", fs.ErrNotExist)

// kept lists the databases that were kept for the one at path, oldest first. Another user's
// file is none of them, whatever its name.
func kept(path string) (found []string) {
	var trusted []fs.FileInfo
	if db, err := os.Lstat(path); err == nil {
		trusted = append(trusted, db)
	}
	entries, err := os.ReadDir(filepath.Dir(path)) // sorted by name
	if err != nil {
		return nil
	}
	for _, e := range entries {
		at, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+keptSuffix)
		if _, err := time.Parse(keptTime, at); err != nil || !ok || !e.Type().IsRegular() {
			continue
		}
		name := filepath.Join(filepath.Dir(path), e.Name())
		if info, err := e.Info(); err == nil && checkOwner(name, info, trusted...) == nil {
			found = append(found, name)
		}
	}
	return found
}

// Kept returns the path of the database that was kept last, and its size in bytes. It returns
// "" if there is none.
func (f *File) Kept() (path string, size int64) {
	all := kept(f.path)
	if len(all) == 0 {
		return "", 0
	}
	path = all[len(all)-1]
	size, err := sizeOf(path)
	if err != nil {
		return "", 0
	}
	return path, size
}

// retain gives the database at path, which we have locked, a second name, under which it is
// kept, and returns that. An empty file has nothing to be kept.
func (e *exclusive) retain(path string) (string, error) {
	if size, err := sizeOf(path); err != nil || size == 0 {
		return "", err
	}
	for at := time.Now(); ; at = at.Add(time.Millisecond) {
		name := path + keptSuffix + at.UTC().Format(keptTime)
		if _, err := os.Lstat(name); err == nil {
			continue
		}
		err := os.Link(path, name)
		if err != nil {
			err = e.copyTo(path, name, err)
		}
		if err == nil { // it must be on disk before the first name gets another file
			err = syncFolder(filepath.Dir(path))
		}
		return name, err
	}
}

// copyTo copies the database to name, where hard links are impossible, for the reason why. The
// copy has the name only when it is complete.
func (e *exclusive) copyTo(path, name string, why error) (err error) {
	size, err := sizeOf(path)
	if err != nil {
		return err
	}
	if free, known := FreeSpace(filepath.Dir(path)); e.c == nil || known && free < size {
		return fmt.Errorf("it cannot have a second name (%w), and a copy is impossible without %d MiB of free space; move it away first", why, size>>20)
	}
	w, err := NewWork(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := e.c.Exec("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1"); err != nil {
		return err
	}
	if err := errors.Join(e.c.Copy(context.Background(), w.Path(), nil), e.c.Exec("ROLLBACK")); err != nil {
		return err
	}
	if err := errors.Join(inherit(w.Path(), path), syncFile(w.Path())); err != nil {
		return err
	}
	return os.Rename(w.Path(), name)
}

// DropKept removes the databases that were kept before the one with this name. What is no
// database, in use or protected stays.
func (f *File) DropKept(except string) {
	for _, name := range kept(f.path) {
		if name != except {
			_ = dropKept(name) // the next time, or by the user
		}
	}
}

func dropKept(name string) error {
	lock, made, err := lockName(name)
	if err != nil {
		return err
	}
	held, err := takeExclusively(name)
	if err == nil && held.c != nil {
		err, made = errors.Join(held.removeSides(name), os.Remove(name), held.close()), true
	}
	if made {
		return errors.Join(err, lock.remove(name+lockSuffix))
	}
	return errors.Join(err, lock.Close())
}

// removeTwins removes the second name of the database at path, if a process has died before it
// could replace the database.
func removeTwins(path string) {
	id, links, err := identifyLinks(path)
	if err != nil || links < 2 {
		return
	}
	for _, name := range kept(path) {
		if twin, err := identify(name); err == nil && twin == id {
			_ = os.Remove(name) // it does no harm as long as nobody uses it
		}
	}
}

// Revert puts the database that was kept last back in f's place, and keeps the one that is
// there now: a second Revert undoes the first. Whenever it ends, the place has one or the
// other, as with Replace.
func (f *File) Revert() (Replaced, error) {
	if err := f.Free(true); err != nil {
		return Replaced{}, err
	}
	last, _ := f.Kept()
	if last == "" {
		return Replaced{}, fmt.Errorf("%s: %w", f.path, ErrNoneKept)
	}
	held, err := takeExclusively(last) // a program may have opened it, and left a WAL
	if err != nil {
		return Replaced{}, err
	}
	if err := held.removeSides(last); err != nil {
		return Replaced{}, errors.Join(err, held.close())
	}
	r, err := f.replace(last, true, func() error { return rename(last, f.path) })
	if err = errors.Join(err, held.close()); err != nil {
		return Replaced{}, err
	}
	f.DropKept(r.Kept)
	return r, nil
}
