package objstore

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/windows"
)

// nonBlock is zero: folders hold no pipes on Windows.
const nonBlock = 0

// tryLock takes the lock of an open file if it is free.
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

// inUse reports whether err may mean that another process has the file open. Windows
// reports that in many ways. ERROR_ACCESS_DENIED also stands for a deleted file that
// disappears as soon as its last reader closes it.
func inUse(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) ||
		errors.Is(err, windows.ERROR_ACCESS_DENIED) ||
		errors.Is(err, windows.ERROR_LOCK_VIOLATION) ||
		errors.Is(err, windows.ERROR_USER_MAPPED_FILE) ||
		errors.Is(err, windows.ERROR_DELETE_PENDING)
}

// syncFolder does nothing: Windows cannot sync a folder, and NTFS journals changes of
// names in order.
func syncFolder(*os.Root, string) error { return nil }

// nameable reports whether each element of key keeps its name: Windows drops dots and
// spaces at the end of an element.
func nameable(key string) bool {
	for element := range strings.SplitSeq(key, "/") {
		if strings.HasSuffix(element, ".") || strings.HasSuffix(element, " ") {
			return false
		}
	}
	return true
}

// cannotHold reports whether the file system has refused a name permanently.
// os.Root.Rename returns EINVAL for a name that is too long.
func cannotHold(err error) bool {
	return errors.Is(err, windows.ERROR_INVALID_NAME) ||
		errors.Is(err, syscall.EINVAL) ||
		errors.Is(err, windows.ERROR_FILENAME_EXCED_RANGE) ||
		errors.Is(err, syscall.ENAMETOOLONG)
}
