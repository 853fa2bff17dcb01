package dbfile

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// noFollow is nothing: there are no pipes in folders, and what a link leads to is
// not what is in its place, which tryLock compares.
const noFollow = 0

// lockFile locks the first byte of an open file, or returns errHeld.
func lockFile(file *os.File) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	var failed error
	if err := conn.Control(func(fd uintptr) {
		failed = windows.LockFileEx(windows.Handle(fd), flags, 0, 1, 0, &windows.Overlapped{})
	}); err != nil {
		return err
	}
	if errors.Is(failed, windows.ERROR_LOCK_VIOLATION) || errors.Is(failed, windows.ERROR_IO_PENDING) {
		return errHeld
	}
	return failed
}

// openFailed is what it means that a lock file cannot be opened: errHeld, if whoever has
// it is just removing it.
func openFailed(err error) error {
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return errHeld
	}
	return err
}

// remove ends the lock and removes its file, at path. Windows removes no file that
// somebody has open, as we have. So it is closed first: if somebody else opens it before
// it is removed, it stays, and is theirs.
func (l *lock) remove(path string) error {
	if err := l.Close(); err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return err
	}
	return nil
}

// The folder's access control list, which is inherited, counts on Windows.

func checkNames(string, fs.FileInfo) error { return nil }

func checkOwner(string, fs.FileInfo, ...fs.FileInfo) error { return nil }

func (l *lock) share(fs.FileInfo, bool) error { return nil }
