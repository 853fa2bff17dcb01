package dbfile

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// unsafeFileSystem names the kind of file system that the database is on, if it
// is one on which SQLite's WAL is known to break.
func (f *File) unsafeFileSystem() (kind string, unsafe bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(f.path), &st); err != nil || st.Flags&unix.MNT_LOCAL != 0 {
		return "", false
	}
	return unix.ByteSliceToString(st.Fstypename[:]), true
}

// isMount reports whether the file is mounted itself, apart from its folder. Nobody
// does that here.
func (f *File) isMount() bool { return false }
