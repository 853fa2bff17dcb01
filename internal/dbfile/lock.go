package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// lockSuffix is the ending of the file beside a database that says who writes it.
const lockSuffix = "-lock"

// ErrLocked says that somebody else has the database, under this name or another.
var ErrLocked = errors.New("the database is open elsewhere")

// errHeld says that a lock file is locked.
var errHeld = errors.New("the lock is held")

// lock is a file that is locked. All that is done to it is done through the handle
// that has the lock: whatever comes into its place later is not touched.
type lock struct{ file *os.File }

// Close ends the lock.
func (l *lock) Close() error { return l.file.Close() }

// tryLock locks the file at path, which it makes for the user alone if it is
// missing. errHeld says that somebody else has the lock. Files of those who own
// one of trusted are not refused as a stranger's.
//
// A lock file may be removed, but only by whoever has it locked: see remove. One that
// was removed between our opening and our locking it guards nothing, so it has to be
// the one at path afterwards.
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

// take locks the open file, if it is one that we may write to.
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

// isAt reports whether path still names the file that is locked.
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

// openRegular opens a regular file. It follows no link in its place, and waits for
// no pipe. A new file is for the user alone.
func openRegular(path string, flag int) (*os.File, error) {
	if err := checkRegular(path); err != nil { // says what it is
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

// lockName keeps other processes out that use the same name for the database at
// path. made says that the lock file was not there before.
func lockName(path string) (l *lock, made bool, err error) {
	name := path + lockSuffix
	_, err = os.Lstat(name)
	made = errors.Is(err, fs.ErrNotExist)
	var trusted []fs.FileInfo
	db, err := os.Lstat(path)
	if err == nil {
		trusted = append(trusted, db)
	}
	l, err = tryLock(name, trusted...)
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

// shareLock lets those use the lock of a new database who may write that.
func (f *File) shareLock() error {
	db, err := os.Lstat(f.path)
	if err != nil || f.lock == nil {
		return err
	}
	return f.lock.share(db, false)
}

// lockMode is the mode that the lock of a database with this mode has: whoever may
// write the database may lock it, and nobody else can keep its writers out.
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

// markerAt is where the clean-shutdown marker begins: the byte before it is locked, which on Windows
// not even we can read through another handle.
const markerAt = 1

// ReadMarker fills b with the beginning of the clean-shutdown marker, which is kept in the lock's file.
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

// folderOf is what there is to know of the folder that path is in.
func folderOf(path string) (fs.FileInfo, error) { return os.Stat(filepath.Dir(path)) }
