package dbfile

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// UnsafeFileSystem names the kind of file system that the database is on, if it
// is one on which SQLite's WAL is known to break.
func (f *File) UnsafeFileSystem() (kind string, unsafe bool) {
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(f.path) + `\`)
	if err != nil {
		return "", false
	}
	return "a network drive", windows.GetDriveType(root) == windows.DRIVE_REMOTE
}
