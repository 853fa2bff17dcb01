package dbfile

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// lockByte is the byte that stands for the whole database: far beyond the bytes that SQLite
// locks, and beyond anything that a file can hold.
const lockByte = 1 << 62

// lockHandle locks the file behind one of SQLite's handles, whatever its name: a hard link, or
// a file that is mounted twice, is one database. The lock belongs to the open file
// description: it ends with that and not, as SQLite's own locks do, when any of the process's
// descriptors of the file is closed.
func lockHandle(handle uintptr) error {
	err := ofd(handle, unix.F_WRLCK)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errHeld
	}
	if errors.Is(err, unix.EBADF) {
		return fmt.Errorf("%w: it cannot be opened for writing", fs.ErrPermission)
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil // a file system without such locks: the name's lock must do
	}
	return err
}

func unlockHandle(handle uintptr) error { return ofd(handle, unix.F_UNLCK) }

func ofd(handle uintptr, kind int16) error {
	return unix.FcntlFlock(handle, unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: lockByte, Len: 1})
}
