package dbfile

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// unsafeFileSystem names the database's file system if SQLite's WAL is known to break on it.
func (f *File) unsafeFileSystem() (kind string, unsafe bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(f.path), &st); err != nil || st.Flags&unix.MNT_LOCAL != 0 {
		return "", false
	}
	return unix.ByteSliceToString(st.Fstypename[:]), true
}

// isMount reports whether the file itself is a mount, apart from its folder. That is not done
// on this system.
func (f *File) isMount() bool { return false }
