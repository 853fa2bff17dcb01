// Package dbfile knows the file that a database is in: which one a path means,
// whether it is still the same, who may use it, what lies beside it, and how it
// is replaced. Nothing else makes, renames or removes anything there.
//
// Other programs live in the same folders. So nothing is removed that is not
// ours by its name, its contents and its lock, and nothing is replaced that
// cannot be put back.
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
	// ErrNotFile says that a path names something that is not a regular file.
	ErrNotFile = errors.New("not a regular file")
	// ErrNotOurs says that a file or folder which DriftDB keeps beside a database is
	// somebody else's, or is a file of another name, too.
	ErrNotOurs = errors.New("not a DriftDB file")
)

// File is a database's place, taken by this process.
type File struct {
	path string
	lock *lock
	temp *Work    // the folder that it is alone in, of a file that is not kept
	made []string // folders and files that were not there before, in the order in which they were made

	old     ID      // of the file that was there when Free said that it may be replaced
	handle  uintptr // of SQLite's, while it is locked
	held    ID      // the file behind it
	watched identities
	size    int64 // that the database had when it was looked at last
	short   int64 // that it had when it was too short last
}

// Take takes the place that path means: it resolves path, makes the folders on
// the way and locks the name. A place that another process has, or another File
// of this one, is ErrLocked; something that is not a regular file is ErrNotFile.
// The file itself need not be there.
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
	return f, nil
}

// Path is the resolved path.
func (f *File) Path() string { return f.path }

// checkRegular refuses what must not be opened, replaced or removed as a file:
// a device, a pipe, a socket, a folder.
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

// makeFolders makes folder and those above it that are missing.
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

// There reports whether there is a file, and whether it has a byte in it: SQLite
// takes an empty one for a database with nothing in it.
func (f *File) There() (there, empty bool, err error) {
	info, err := os.Lstat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, true, nil
	}
	return err == nil, err == nil && info.Size() == 0, err
}

// Create makes an empty file, unless there is one. It has the mode of any new file,
// which the umask decides; whoever may write it may use its lock.
func (f *File) Create() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil // not to be opened: that would end SQLite's locks on it
	}
	if err != nil {
		return err
	}
	f.made = append(f.made, f.path)
	return errors.Join(file.Close(), f.shareLock())
}

// Hold locks the file that c has open itself, beside its name: a hard link, or a
// file that is mounted in two places, has two names. ErrLocked says that somebody
// has it under another one. The lock ends with Release, which comes before c is
// closed.
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

// Admit is Hold for every other connection: it must be one to the held file.
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

// Watch remembers which files they are, the database's and those beside it. The
// database is held, and in WAL mode.
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

// Check compares the files with what Watch has remembered. ErrReplaced says what
// has become of which. It opens nothing, and takes some microseconds.
func (f *File) Check() error {
	if f.watched == (identities{}) {
		return nil
	}
	return f.watched.compare(f.path)
}

// WALSize is how many bytes the -wal has; 0 if there is none.
func (f *File) WALSize() (int64, error) {
	size, err := sizeOf(f.path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return size, err
}

// CheckSize reports whether somebody has cut the file off: ErrReplaced. A file that
// SQLite itself has made smaller says so in its header. While a checkpoint is under
// way it may say too much, so it must be found twice with the same size; with
// atOnce, nobody checkpoints.
func (f *File) CheckSize(atOnce bool) error {
	size, err := sizeOf(f.path)
	if err != nil {
		return err
	}
	was := f.size
	if f.size = size; f.size >= was && f.short == 0 {
		return nil
	}
	head, err := sqlite.ReadHeader(f.path)
	if err == nil && head.Pages*int64(head.PageSize) <= f.size {
		f.short = 0
		return nil
	}
	if !atOnce && f.short != f.size && f.size > 0 {
		f.short = f.size
		return nil
	}
	return fmt.Errorf("%w: %s was truncated: it has %d bytes and should have %d", ErrReplaced, f.path, f.size, max(head.Pages*int64(head.PageSize), was))
}

// Inode is the number by which the file system knows the held file.
func (f *File) Inode() uint64 { return f.held.Index }

// Unhold gives up what Hold has taken.
func (f *File) Unhold() error {
	if f.handle == 0 {
		return nil
	}
	handle := f.handle
	f.handle = 0
	return unlockHandle(handle)
}

// Forget is Unhold for a connection that has been closed already, by an Open that
// failed after the claim: its lock has ended.
func (f *File) Forget() { f.handle = 0 }

// Release gives the place up.
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

// Abandon gives the place up and removes what was made for it, if nothing came
// of it: the lock's file, an empty database, empty folders.
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
		// A folder with somebody's file in it stays.
		_ = os.Remove(last)
	}
	return f.Release()
}
