package dbfile

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// noFollow is 0: folders hold no pipes, and a file reached through a link is not the one at
// the path, which tryLock compares.
const noFollow = 0

// lockFile locks the first byte of an open file, or returns errHeld.
func lockFile(file *os.File) error { return tryLockFile(file, windows.LOCKFILE_EXCLUSIVE_LOCK) }

// peekLock returns errHeld if a process has locked the file. Closing the file ends its own lock.
func peekLock(file *os.File) error { return tryLockFile(file, 0) }

func tryLockFile(file *os.File, how uint32) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) {
		failed = windows.LockFileEx(windows.Handle(fd), how|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	}); err != nil {
		return err
	}
	if errors.Is(failed, windows.ERROR_LOCK_VIOLATION) || errors.Is(failed, windows.ERROR_IO_PENDING) {
		return errHeld
	}
	return failed
}

// unlockFile has nothing to do: no other process has a copy of the handle.
func unlockFile(*os.File) error { return nil }

// openFailed translates the error of opening a lock file: errHeld, if its holder is just
// removing it.
func openFailed(err error) error {
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return errHeld
	}
	return err
}

// remove ends the lock and removes its file, at path. Windows does not remove an open file, so
// it is closed first. If another process opens the file before it is removed, it stays and
// belongs to that process.
func (l *lock) remove(path string) error {
	if err := l.Close(); err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return err
	}
	return nil
}

// On Windows the inherited access control list of the folder counts.

func checkNames(string, fs.FileInfo) error { return nil }

func checkOwner(string, fs.FileInfo, ...fs.FileInfo) error { return nil }

func (l *lock) share(fs.FileInfo, bool) error { return nil }
