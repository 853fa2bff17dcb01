//go:build !windows

package objstore

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// nonBlock makes opening a pipe without a writer return at once.
const nonBlock = unix.O_NONBLOCK

// tryLock takes the lock of an open file if it is free.
func tryLock(f *os.File) (locked bool, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var lockErr error
	if err := conn.Control(func(fd uintptr) { lockErr = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return false, err
	}
	if errors.Is(lockErr, unix.EWOULDBLOCK) || errors.Is(lockErr, unix.EINTR) {
		return false, nil
	}
	return lockErr == nil, lockErr
}

// inUse reports whether err may mean that another process has the file open. POSIX allows
// that, but SMB, FUSE and other file systems do not, and each reports it differently.
func inUse(err error) bool {
	return errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ETXTBSY) || errors.Is(err, syscall.EACCES)
}

// syncFolder makes the names in a folder durable.
func syncFolder(root *os.Root, name string) error {
	f, err := openAtOnce(root, name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// nameable reports whether each element of key keeps its name.
func nameable(string) bool { return true }

// cannotHold reports whether the file system has refused a name permanently.
func cannotHold(err error) bool {
	return errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.EILSEQ)
}
