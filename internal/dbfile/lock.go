package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// lockSuffix is the suffix of the file beside a database that says who writes it.
const lockSuffix = "-lock"

// ErrLocked means that the database is in use elsewhere, under this name or another.
var ErrLocked = errors.New("the database is open elsewhere")

// errHeld means that a lock file is locked.
var errHeld = errors.New("the lock is held")

// lock is a locked file. All operations on it go through the handle that has the lock: a file
// that takes its place later is not touched.
type lock struct{ file *os.File }

// Close ends the lock. To close the file alone would not always end it: a process that this
// one is just starting holds a copy of every descriptor until it executes its program.
func (l *lock) Close() error { return errors.Join(unlockFile(l.file), l.file.Close()) }

// tryLock locks the file at path, which it creates for the user alone if it is missing.
// errHeld means that the lock is taken. Files of the owners of trusted are accepted too.
//
// A lock file may be removed, but only under its lock: see remove. A file that was removed
// between our opening and our locking it guards nothing, so the locked file must still be the
// one at path afterwards.
func tryLock(path string, trusted ...fs.FileInfo) (*lock, error) {
	for {
		file, err := openRegular(path, os.O_RDWR|os.O_CREATE)
		if err != nil {
			return nil, openFailed(err)
		}
		l := &lock{file}
		current := false
		if err = l.take(path, trusted); err == nil {
			current, err = l.isAt(path)
		}
		if current {
			return l, nil
		}
		if err := errors.Join(err, l.Close()); err != nil {
			return nil, err
		}
	}
}

// lookWait is how long it is worth waiting for somebody who only looks whether a lock is held:
// see Sight.Lock.
const lookWait = 100 * time.Millisecond

// lockSoon is tryLock for a lock that somebody may be looking at.
func lockSoon(path string, trusted ...fs.FileInfo) (l *lock, err error) {
	for deadline := time.Now().Add(lookWait); ; time.Sleep(time.Millisecond) {
		l, err = tryLock(path, trusted...)
		if !errors.Is(err, errHeld) || time.Now().After(deadline) {
			return l, err
		}
	}
}

// take locks the open file if we may write to it.
func (l *lock) take(path string, trusted []fs.FileInfo) error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if err := checkNames(path, info); err != nil {
		return err
	}
	if err := checkOwner(path, info, trusted...); err != nil {
		return err
	}
	return lockFile(l.file)
}

// isAt reports whether path still names the locked file.
func (l *lock) isAt(path string) (bool, error) {
	locked, err := l.file.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(locked, now), err
}

// openRegular opens a regular file. It follows no link in its place, and does not block on a
// pipe. A new file is for the user alone.
func openRegular(path string, flag int) (*os.File, error) {
	if err := checkRegular(path); err != nil { // its error says what the path is
		return nil, err
	}
	file, err := os.OpenFile(path, flag|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notFile(path, info.Mode())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// lockName keeps out other processes that use the same name for the database at path. made
// reports whether the lock file was created.
func lockName(path string) (l *lock, made bool, err error) {
	name := path + lockSuffix
	_, err = os.Lstat(name)
	made = errors.Is(err, fs.ErrNotExist)
	var trusted []fs.FileInfo
	db, err := os.Lstat(path)
	if err == nil {
		trusted = append(trusted, db)
	}
	l, err = lockSoon(name, trusted...)
	switch {
	case errors.Is(err, errHeld):
		return nil, false, fmt.Errorf("%w: %s has %s open for writing; a file can have one writer at a time", ErrLocked, heldBy(name), path)
	case err != nil:
		return nil, false, fmt.Errorf("lock %s: %w", path, err)
	}
	l.sign()
	if db != nil {
		if err := l.share(db, made); err != nil {
			return nil, false, errors.Join(fmt.Errorf("share the lock of %s: %w", path, err), l.Close())
		}
	}
	return l, made, nil
}

// shareLock lets everyone who may write a new database use its lock.
func (f *File) shareLock() error {
	db, err := os.Lstat(f.path)
	if err != nil || f.lock == nil {
		return err
	}
	return f.lock.share(db, false)
}

// lockMode is the mode of the lock of a database with mode db: whoever may write the database
// may lock it, and no one else can keep its writers out.
func lockMode(db fs.FileMode) fs.FileMode {
	mode := fs.FileMode(0o600)
	if db&0o020 != 0 {
		mode |= 0o060
	}
	if db&0o002 != 0 {
		mode |= 0o006
	}
	return mode
}

// markerAt is the offset of the clean-shutdown marker. The byte before it is locked, and on
// Windows not even we can read that through another handle.
const markerAt = 1

// ReadMarker fills b with the beginning of the clean-shutdown marker, which is kept in the
// lock's file.
func (f *File) ReadMarker(b []byte) error {
	if f.lock == nil {
		return fs.ErrClosed
	}
	_, err := f.lock.file.ReadAt(b, markerAt)
	return err
}

// WriteMarker replaces the beginning of the marker.
func (f *File) WriteMarker(b []byte) error {
	if f.lock == nil {
		return fs.ErrClosed
	}
	_, err := f.lock.file.WriteAt(b, markerAt)
	return err
}

// folderOf describes the folder that path is in.
func folderOf(path string) (fs.FileInfo, error) { return os.Stat(filepath.Dir(path)) }
