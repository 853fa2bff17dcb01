package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// workSuffix is the suffix of the folder beside a database that holds its working folders. The
// folder exists only while one of them does.
const workSuffix = "-driftdb"

// A Work is a folder for files that are useless once the process that made them has ended: the
// copy that a snapshot is made from, a database that is being restored. That process holds the
// lock of a file in the folder. A folder whose lock is free was left by a crash, and is
// removed when the next one is made or the database is opened.
type Work struct {
	dir  string // of this folder
	base string // the parent of all working folders
	lock *lock
	mode fs.FileMode // the mode of any new file here, which the database gets if it replaces none
}

// These are the names of working folders and the files in them. Nothing else is ever removed.
const (
	workPrefix = "work-"
	workFile   = "database.sqlite"
	workLock   = "lock"
)

// Path is the path of the database in the working folder. The file exists, empty, from the
// beginning.
func (w *Work) Path() string { return filepath.Join(w.dir, workFile) }

// NewWork creates a working folder beside the database at path, on the same file system.
func NewWork(path string) (*Work, error) { return newWork(path + workSuffix) }

// newWork creates a working folder in base. It first removes leftovers, under the lock that
// creating one needs: so a folder that is just being created is never taken for a leftover.
func newWork(base string) (*Work, error) {
	unlock, err := lockWorks(base)
	if err != nil {
		return nil, fmt.Errorf("create a working folder in %s: %w", base, err)
	}
	sweep(base)
	dir, err := os.MkdirTemp(base, workPrefix)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	lock, err := lockSoon(filepath.Join(dir, workLock))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the working folder %s: %w", dir, err), unlock())
	}
	w := &Work{dir: dir, base: base, lock: lock}
	if err := w.create(); err != nil {
		return nil, errors.Join(err, removeWork(dir, lock), unlock())
	}
	return w, unlock()
}

// create creates the database, for the user alone, and finds the mode that it would otherwise
// have.
func (w *Work) create() error {
	f, err := os.OpenFile(w.Path(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		w.mode = info.Mode().Perm()
	}
	return errors.Join(err, f.Close(), os.Chmod(w.Path(), 0o600))
}

// Close removes the folder.
func (w *Work) Close() error {
	unlock, err := lockWorks(w.base)
	if err != nil {
		return errors.Join(fmt.Errorf("remove the working folder %s: %w", w.dir, err), w.lock.Close())
	}
	return errors.Join(removeWork(w.dir, w.lock), unlock())
}

// removeWork removes a working folder whose lock we hold. If it holds anything that is not
// ours, it stays.
func removeWork(dir string, lock *lock) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	var errs []error
	for _, e := range entries {
		if name := e.Name(); name != workLock && ourFile(e) {
			errs = append(errs, os.Remove(filepath.Join(dir, name)))
		}
	}
	errs = append(errs, lock.remove(filepath.Join(dir, workLock)), os.Remove(dir))
	return errors.Join(errs...)
}

// ourFile reports whether we put the file into the working folder.
func ourFile(e fs.DirEntry) bool {
	if !e.Type().IsRegular() {
		return false
	}
	if e.Name() == workLock {
		return true
	}
	rest, ok := strings.CutPrefix(e.Name(), workFile)
	if !ok {
		return false
	}
	for _, suffix := range append([]string{"", lockSuffix}, sideSuffixes...) {
		if rest == suffix {
			return true
		}
	}
	return false
}

// sweep removes what crashes have left in base. The caller holds the folder's lock. What
// cannot be removed does no harm.
func sweep(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		if !e.IsDir() || !isWorkName(e.Name()) {
			continue
		}
		// An in-memory database has working folders of its own.
		_ = removeLeftovers(filepath.Join(dir, workFile))
		if holdsOnlyOurs(dir) {
			if lock, err := tryLock(filepath.Join(dir, workLock)); err == nil {
				_ = removeWork(dir, lock)
			}
		}
	}
}

// isWorkName reports whether the name was made by os.MkdirTemp.
func isWorkName(name string) bool {
	digits, ok := strings.CutPrefix(name, workPrefix)
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

func holdsOnlyOurs(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if !ourFile(e) {
			return false
		}
	}
	return true
}

// removeLeftovers removes what crashes have left beside the database at path.
func removeLeftovers(path string) error {
	base := path + workSuffix
	if _, err := os.Lstat(base); err != nil || checkBase(base) != nil {
		return nil // a folder that is not ours holds nothing of ours
	}
	unlock, err := lockWorks(base)
	if err != nil {
		return fmt.Errorf("look for leftovers in %s: %w", base, err)
	}
	sweep(base)
	return unlock()
}

// lockWait is how long another process may take to create or remove a working folder.
const lockWait = 10 * time.Second

// lockWorks creates base and takes the lock under which working folders in it are created and
// removed. The last process to release an empty base removes it.
func lockWorks(base string) (unlock func() error, err error) {
	name := filepath.Join(base, workLock)
	for deadline := time.Now().Add(lockWait); ; time.Sleep(time.Millisecond) {
		if err := os.Mkdir(base, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if err := checkBase(base); err != nil {
			return nil, err
		}
		lock, err := tryLock(name)
		if err == nil {
			return func() error { return unlockWorks(base, lock) }, nil
		}
		// base may have been removed since it was created.
		if !errors.Is(err, errHeld) && !errors.Is(err, fs.ErrNotExist) || time.Now().After(deadline) {
			return nil, err
		}
	}
}

// checkBase rejects anything at base that is not a folder of ours. A link may lead to another
// disk, and a rename from there to here is impossible; in a folder of another user, who could
// swap its contents, nothing is secret.
func checkBase(base string) error {
	info, err := os.Lstat(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is %s but must be a folder; move it away", base, kindOf(info.Mode()))
	}
	if err == nil {
		err = checkOwner(base, info)
	}
	return err
}

func unlockWorks(base string, lock *lock) error {
	entries, err := os.ReadDir(base)
	if err != nil || len(entries) > 1 { // more than the lock
		return errors.Join(err, lock.Close())
	}
	// If the lock's file cannot be removed, or another process has just come, the folder
	// stays.
	if lock.remove(filepath.Join(base, workLock)) == nil {
		_ = os.Remove(base)
	}
	return nil
}
