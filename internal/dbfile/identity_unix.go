//go:build unix

package dbfile

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// identify finds out which file a path names, without opening it: that would
// end SQLite's locks. It is called all the time, so it asks the system itself: what
// goes through package os, the go command notes down for every test.
func identify(path string) (ID, error) {
	st, err := lstat(path)
	return ID{uint64(st.Dev), uint64(st.Ino)}, err
}

// sizeOf is the size of a file in bytes.
func sizeOf(path string) (int64, error) {
	st, err := lstat(path)
	return st.Size, err
}

func lstat(path string) (st unix.Stat_t, err error) {
	if err := unix.Lstat(path, &st); err != nil {
		return unix.Stat_t{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return st, nil
}

// identifyHandle finds out which file a handle of SQLite's is open to.
func identifyHandle(handle uintptr) (ID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(handle), &st); err != nil {
		return ID{}, os.NewSyscallError("fstat", err)
	}
	return ID{uint64(st.Dev), uint64(st.Ino)}, nil
}

// keepOwner gives the file at path the owner and the group of the file that it
// is about to replace.
func keepOwner(path string, old fs.FileInfo) error {
	want, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if have, ok := info.Sys().(*syscall.Stat_t); ok && have.Uid == want.Uid && have.Gid == want.Gid {
		return nil
	}
	if err := os.Lchown(path, int(want.Uid), int(want.Gid)); err != nil {
		return foreignOwner(want, err)
	}
	return nil
}

// mayKeepOwner says early whether keepOwner will fail.
func mayKeepOwner(path string, old fs.FileInfo) error {
	want, ok := old.Sys().(*syscall.Stat_t)
	if user := os.Geteuid(); ok && user != 0 && user != int(want.Uid) {
		return fmt.Errorf("%s: %w", path, foreignOwner(want, fs.ErrPermission))
	}
	return nil
}

func foreignOwner(want *syscall.Stat_t, err error) error {
	return fmt.Errorf("the file belongs to user %d, group %d, but its replacement would not: run as that user or as root, or move the file away: %w", want.Uid, want.Gid, err)
}
