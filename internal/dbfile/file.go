// Package dbfile manages a database's file: which file a path means, whether it is still the
// same, who may use it, what lies beside it, and how it is replaced. No other package creates,
// renames or removes anything there.
//
// Other programs use the same folders. So dbfile removes only what its name, its contents and
// its lock show to be ours, and replaces nothing that cannot be put back.
package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

var (
	// ErrNotFile means that a path names something other than a regular file.
	ErrNotFile = errors.New("not a regular file")
	// ErrNotOurs means that a file or folder that DriftDB keeps beside a database belongs to
	// someone else, or has another name as well.
	ErrNotOurs = errors.New("not a DriftDB file")
)

// File is a database's place, claimed by this process.
type File struct {
	path string
	lock *lock
	temp *Work    // the working folder of a file that is not kept
	made []string // folders and files that were created, in order of creation

	old     ID      // the file that Free found and allowed to be replaced
	handle  uintptr // SQLite's handle, while it is locked
	held    ID      // the file behind handle
	watched identities
	size    int64 // the database's size when it was last found whole
	short   int64 // its size when it was last found too short
}

// Take claims the place that path means: it resolves path, creates missing folders and locks
// the name. If another process, or another File of this one, has the place, the error is
// ErrLocked; if path names something other than a regular file, it is ErrNotFile. The file
// itself need not exist.
func Take(path string) (*File, error) {
	f, err := takePlace(path)
	return f, explainMany(err)
}

func takePlace(path string) (*File, error) {
	path, err := Resolve(path)
	if err != nil {
		return nil, err
	}
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	f := &File{path: path}
	if err := f.makeFolders(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, f.Abandon())
	}
	lock, made, err := lockName(path)
	if err != nil {
		return nil, errors.Join(err, f.Abandon())
	}
	f.lock = lock
	if made {
		f.made = append(f.made, path+lockSuffix)
	}
	if err := errors.Join(checkRegular(path), removeLeftovers(path)); err != nil {
		return nil, errors.Join(err, f.Abandon())
	}
	removeTwins(path)
	return f, nil
}

// Path is the resolved path.
func (f *File) Path() string { return f.path }

// checkRegular rejects what must not be opened, replaced or removed as a file: a device, a
// pipe, a socket, a folder.
func checkRegular(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = notFile(path, info.Mode())
	}
	return err
}

func notFile(path string, mode fs.FileMode) error {
	return fmt.Errorf("%s: %w, but %s; move it away, or choose another path", path, ErrNotFile, kindOf(mode))
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "something else"
}

// makeFolders creates folder and its missing parents.
func (f *File) makeFolders(folder string) error {
	info, err := os.Stat(folder)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is a file, not a folder", folder)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := f.makeFolders(filepath.Dir(folder)); err != nil {
		return err
	}
	err = os.Mkdir(folder, 0o755)
	if err == nil {
		f.made = append(f.made, folder)
	} else if errors.Is(err, fs.ErrExist) {
		return nil // another process was faster
	}
	return err
}

// There reports whether the file exists, and whether it is empty: SQLite takes an empty file
// for a database with nothing in it.
func (f *File) There() (there, empty bool, err error) {
	info, err := os.Lstat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, true, nil
	}
	return err == nil, err == nil && info.Size() == 0, err
}

// Create creates an empty file unless one exists. Its mode is that of any new file, as the
// umask decides; whoever may write the file may use its lock.
func (f *File) Create() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil // do not open it: closing it would end SQLite's locks on it
	}
	if err != nil {
		return err
	}
	f.made = append(f.made, f.path)
	return errors.Join(file.Close(), f.shareLock())
}

// Hold locks the file that c has open, in addition to its name: with a hard link, or a file
// mounted in two places, one file has two names. ErrLocked means that it is in use under
// another name. The lock ends with Release, which must come before c is closed.
func (f *File) Hold(c *sqlite.Conn) error {
	handle, err := c.Handle()
	if err != nil {
		return err
	}
	id, err := identifyHandle(handle)
	if err != nil {
		return fmt.Errorf("identify the file that SQLite has open: %w", err)
	}
	if now, err := identify(f.path); err != nil || now != id {
		return errors.Join(fmt.Errorf("%w: %s", ErrReplaced, f.path), err)
	}
	err = lockHandle(handle)
	if errors.Is(err, errHeld) {
		return fmt.Errorf("%w: %s has a writer under another name, such as a hard link or a second mount; a file can have one writer at a time", ErrLocked, f.path)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.path, err)
	}
	f.handle, f.held = handle, id
	return nil
}

// Admit checks every other connection: it must be to the held file.
func (f *File) Admit(c *sqlite.Conn) error {
	handle, err := c.Handle()
	if err != nil {
		return err
	}
	id, err := identifyHandle(handle)
	if err == nil && id != f.held {
		err = fmt.Errorf("%w: %s is a different file now", ErrReplaced, f.path)
	}
	return err
}

// Watch remembers the identities of the database file and the files beside it. The database
// must be held and in WAL mode.
func (f *File) Watch() error {
	ids, err := identitiesOf(f.path)
	if err != nil {
		return err
	}
	if ids[0] != f.held {
		return fmt.Errorf("%w: %s", ErrReplaced, f.path)
	}
	for i, suffix := range watched {
		if ids[i] == (ID{}) {
			return fmt.Errorf("%w: %s has just been removed", ErrReplaced, f.path+suffix)
		}
	}
	f.watched = ids
	f.size, err = sizeOf(f.path)
	return err
}

// Check compares the files with what Watch remembered. ErrReplaced says which file has changed
// and how. Check opens nothing, and takes some microseconds.
func (f *File) Check() error {
	if f.watched == (identities{}) {
		return nil
	}
	return f.watched.compare(f.path)
}

// WALSize is the size of the -wal in bytes, or 0 if there is none.
func (f *File) WALSize() (int64, error) {
	size, err := sizeOf(f.path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return size, err
}

// CheckSize returns ErrReplaced if another program has truncated the file. If SQLite itself
// has made the file smaller, the header says so. A running checkpoint can look like a
// truncation, so a file that is not empty must be found too short twice, with the same size.
// With atOnce, no checkpoint is running and once is enough.
func (f *File) CheckSize(atOnce bool) error {
	size, err := sizeOf(f.path)
	if err != nil {
		return err
	}
	if size >= f.size && f.short == 0 {
		f.size = size
		return nil
	}
	head, err := sqlite.ReadHeader(f.path)
	if err == nil && head.Pages*int64(head.PageSize) <= size {
		f.size, f.short = size, 0
		return nil
	}
	// The size stays what it was before: a truncated file is found so at each call.
	if !atOnce && f.short != size && size > 0 {
		f.short = size
		return nil
	}
	return fmt.Errorf("%w: %s was truncated: it has %d bytes and should have %d", ErrReplaced, f.path, size, max(head.Pages*int64(head.PageSize), f.size))
}

// Inode is the held file's inode number, or its index on Windows.
func (f *File) Inode() uint64 { return f.held.Index }

// Unhold releases the lock that Hold took.
func (f *File) Unhold() error {
	if f.handle == 0 {
		return nil
	}
	handle := f.handle
	f.handle = 0
	return unlockHandle(handle)
}

// Forget is Unhold for a connection that is already closed, by an Open that failed after the
// claim: its lock has ended with it.
func (f *File) Forget() { f.handle = 0 }

// Release gives up the place.
func (f *File) Release() error {
	err := f.Unhold()
	if f.lock != nil {
		err = errors.Join(err, f.lock.Close())
		f.lock = nil
	}
	if f.temp != nil {
		err = errors.Join(err, f.temp.Close())
		f.temp = nil
	}
	return err
}

// Abandon gives up the place and removes what was created for it if it is still unused: the
// lock's file, an empty database, empty folders.
func (f *File) Abandon() error {
	for len(f.made) > 0 {
		last := f.made[len(f.made)-1]
		f.made = f.made[:len(f.made)-1]
		info, err := os.Lstat(last)
		if err != nil || last == f.path && info.Size() > 0 {
			continue
		}
		if last == f.path+lockSuffix && f.lock != nil {
			_ = f.lock.remove(last)
			f.lock = nil
			continue
		}
		// A folder that has other files in it stays.
		_ = os.Remove(last)
	}
	return f.Release()
}
