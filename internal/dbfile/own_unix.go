//go:build unix

package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// noFollow makes an open fail on a link, and return at once on a pipe.
const noFollow = unix.O_NOFOLLOW | unix.O_NONBLOCK

// lockFile locks an open file, or returns errHeld.
func lockFile(file *os.File) error { return tryFlock(file, unix.LOCK_EX) }

// peekLock returns errHeld if a process has locked the file. It keeps no lock.
func peekLock(file *os.File) error {
	if err := tryFlock(file, unix.LOCK_SH); err != nil {
		return err
	}
	return unlockFile(file)
}

func tryFlock(file *os.File, how int) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = flock(int(fd), how|unix.LOCK_NB) }); err != nil {
		return err
	}
	if errors.Is(failed, unix.EWOULDBLOCK) {
		return errHeld
	}
	return failed
}

// unlockFile ends the lock of an open file, whoever holds a copy of its descriptor.
func unlockFile(file *os.File) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = flock(int(fd), unix.LOCK_UN) })
	return errors.Join(err, failed)
}

// openFailed translates the error of opening a lock file.
func openFailed(err error) error { return err }

// remove ends the lock and removes its file, at path. The file goes first, while no other
// process can hold its lock.
func (l *lock) remove(path string) error {
	return errors.Join(os.Remove(path), l.Close())
}

func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// checkNames rejects a file that has another name: whatever is written to it is written under
// that name too, whoever owns it.
func checkNames(path string, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		return fmt.Errorf("%s: %w: the file has %d names (hard links); remove this one, and it is created again",
			path, ErrNotOurs, st.Nlink)
	}
	return nil
}

// checkOwner rejects a file that another user has put at path. Root, this user and the owners
// of trusted are accepted, and so is the folder's owner, who could replace everything in it.
// If others may write a trusted file, everyone is accepted.
func checkOwner(path string, info fs.FileInfo, trusted ...fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	folder, err := folderOf(path)
	if err != nil {
		return err
	}
	owners := []uint32{uint32(os.Geteuid()), 0}
	for _, t := range append(trusted, folder) {
		if st, ok := t.Sys().(*syscall.Stat_t); ok {
			owners = append(owners, st.Uid)
		}
	}
	shared := slices.ContainsFunc(trusted, func(t fs.FileInfo) bool { return t.Mode()&0o022 != 0 })
	if shared || slices.Contains(owners, st.Uid) {
		return nil
	}
	return fmt.Errorf("%s: %w: it belongs to user %d; change its owner to the database's, or move it away",
		path, ErrNotOurs, st.Uid)
}

// share gives the lock the mode that goes with the database's, and gives a new lock its owner
// and group, as far as permitted.
func (l *lock) share(db fs.FileInfo, made bool) error {
	if st, ok := db.Sys().(*syscall.Stat_t); ok && made {
		if err := l.file.Chown(int(st.Uid), int(st.Gid)); errors.Is(err, fs.ErrPermission) {
			_ = l.file.Chown(-1, int(st.Gid)) // permitted for a group that the user is in
		} else if err != nil {
			return err
		}
	}
	info, err := l.file.Stat()
	if err != nil || info.Mode().Perm() == lockMode(db.Mode()) {
		return err
	}
	if err := l.file.Chmod(lockMode(db.Mode())); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil // it belongs to another user who shares the database, or the file system has no modes
}
