package dbfile

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// unsafeFileSystem names the kind of file system that the database is on, if it
// is one on which SQLite's WAL is known to break.
func (f *File) unsafeFileSystem() (kind string, unsafe bool) {
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(f.path) + `\`)
	if err != nil {
		return "", false
	}
	return "a network drive", windows.GetDriveType(root) == windows.DRIVE_REMOTE
}

// isMount reports whether the file is mounted itself, apart from its folder. Nobody
// does that here.
func (f *File) isMount() bool { return false }
