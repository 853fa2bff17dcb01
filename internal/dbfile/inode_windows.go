package dbfile

import (
	"errors"

	"golang.org/x/sys/windows"
)

// lockHandle locks the file behind one of SQLite's handles, whatever its name: it locks a byte
// beyond anything that a file can hold.
func lockHandle(handle uintptr) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(handle), flags, 0, 1, 0, lockByte())
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return errHeld
	}
	return err
}

func unlockHandle(handle uintptr) error {
	return windows.UnlockFileEx(windows.Handle(handle), 0, 1, 0, lockByte())
}

func lockByte() *windows.Overlapped { return &windows.Overlapped{OffsetHigh: 1 << 30} }
