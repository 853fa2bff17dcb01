package objstore

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/windows"
)

// nonBlock is nothing: folders hold no pipes.
const nonBlock = 0

// tryLock takes the lock of an open file if nobody has it.
func tryLock(f *os.File) (locked bool, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	var lockErr error
	if err := conn.Control(func(fd uintptr) {
		lockErr = windows.LockFileEx(windows.Handle(fd), flags, 0, 1, 0, &windows.Overlapped{})
	}); err != nil {
		return false, err
	}
	if errors.Is(lockErr, windows.ERROR_LOCK_VIOLATION) || errors.Is(lockErr, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return lockErr == nil, lockErr
}

// inUse reports whether err may mean that somebody has the file open. Windows says
// it in many ways; ERROR_ACCESS_DENIED is also that of a file that is gone as
// soon as its last reader is.
func inUse(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) ||
		errors.Is(err, windows.ERROR_ACCESS_DENIED) ||
		errors.Is(err, windows.ERROR_LOCK_VIOLATION) ||
		errors.Is(err, windows.ERROR_USER_MAPPED_FILE) ||
		errors.Is(err, windows.ERROR_DELETE_PENDING)
}

// syncFolder does nothing: Windows has no way to sync a folder, and NTFS
// writes changes of names to its journal in order.
func syncFolder(*os.Root, string) error { return nil }

// nameable says whether each element of key keeps its name: Windows drops dots and spaces
// at the end of one.
func nameable(key string) bool {
	for element := range strings.SplitSeq(key, "/") {
		if strings.HasSuffix(element, ".") || strings.HasSuffix(element, " ") {
			return false
		}
	}
	return true
}

// cannotHold says whether the file system has refused a name for good. EINVAL is what
// os.Root.Rename says of a name that is too long.
func cannotHold(err error) bool {
	return errors.Is(err, windows.ERROR_INVALID_NAME) ||
		errors.Is(err, syscall.EINVAL) ||
		errors.Is(err, windows.ERROR_FILENAME_EXCED_RANGE) ||
		errors.Is(err, syscall.ENAMETOOLONG)
}
