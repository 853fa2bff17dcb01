//go:build unix

package dbfile

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// identify returns the ID of the file at path without opening it: closing it would end
// SQLite's locks. It is called all the time, so it calls the system directly: the go command
// records what goes through package os for every test.
func identify(path string) (ID, error) {
	st, err := lstat(path)
	return ID{uint64(st.Dev), uint64(st.Ino)}, err
}

// identifyLinks is identify, and returns how many names the file has.
func identifyLinks(path string) (ID, uint64, error) {
	st, err := lstat(path)
	return ID{uint64(st.Dev), uint64(st.Ino)}, uint64(st.Nlink), err
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

// identifyHandle returns the ID of the file behind one of SQLite's handles.
func identifyHandle(handle uintptr) (ID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(handle), &st); err != nil {
		return ID{}, os.NewSyscallError("fstat", err)
	}
	return ID{uint64(st.Dev), uint64(st.Ino)}, nil
}

// keepOwner gives the file at path the owner and the group of the file that it is about to
// replace.
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

// mayKeepOwner returns early the error with which keepOwner would fail.
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
