package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/gofrs/flock"
)

// lockSuffix is the ending of the file beside a database that says who writes it.
const lockSuffix = "-lock"

// ErrLocked says that somebody else has the database, under this name or another.
var ErrLocked = errors.New("the database is open elsewhere")

// errHeld says that a lock file is locked.
var errHeld = errors.New("the lock is held")

// tryLock locks the file at path, which it makes if it is missing. errHeld says
// that somebody else has the lock.
//
// A lock file may be removed, but only by whoever has it locked. One that was
// removed between our opening and our locking it guards nothing, so it has to be
// the one at path afterwards. A link is refused: what it leads to is not ours to
// lock, nor to write a note into.
func tryLock(path string, mode fs.FileMode) (*flock.Flock, error) {
	for {
		if err := checkRegular(path); err != nil {
			return nil, err
		}
		lock := flock.New(path, flock.SetPermissions(mode))
		ok, err := lock.TryLock()
		if err != nil {
			return nil, errors.Join(err, lock.Close())
		}
		if !ok {
			return nil, errors.Join(errHeld, lock.Close())
		}
		current, err := isAt(lock, path)
		if current {
			return lock, nil
		}
		if err := errors.Join(err, lock.Close()); err != nil {
			return nil, err
		}
	}
}

// isAt says whether path still names the file that is locked.
func isAt(lock *flock.Flock, path string) (bool, error) {
	locked, err := lock.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(locked, now), err
}

// lockName keeps other processes out that use the same name for the database at
// path. made says that the lock file was not there before.
func lockName(path string) (lock *flock.Flock, made bool, err error) {
	name := path + lockSuffix
	_, err = os.Lstat(name)
	made = errors.Is(err, fs.ErrNotExist)
	// As SQLite's own files beside it: whoever may write the database may lock it.
	mode := fs.FileMode(0o666)
	old, err := os.Lstat(path)
	if err == nil {
		mode = old.Mode().Perm()
	}
	lock, err = tryLock(name, mode)
	switch {
	case errors.Is(err, errHeld):
		return nil, false, fmt.Errorf("%w: %s has a writer; a file can have one at a time", ErrLocked, path)
	case err != nil:
		return nil, false, fmt.Errorf("lock %s: %w", path, err)
	}
	if made && old != nil {
		if err := like(name, old); err != nil {
			return nil, false, errors.Join(err, lock.Close())
		}
	}
	return lock, made, nil
}

// like gives the file at path the mode of old, and its owner where that is
// allowed.
func like(path string, old fs.FileInfo) error {
	if err := os.Chmod(path, old.Mode().Perm()); err != nil {
		return err
	}
	if err := keepOwner(path, old); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
