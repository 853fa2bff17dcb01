package dbfile

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// unsafeFileSystem names the database's file system if SQLite's WAL is known to break on it.
func (f *File) unsafeFileSystem() (kind string, unsafe bool) {
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(f.path) + `\`)
	if err != nil {
		return "", false
	}
	return "a network drive", windows.GetDriveType(root) == windows.DRIVE_REMOTE
}

// isMount reports whether the file itself is a mount, apart from its folder. That is not done
// on this system.
func (f *File) isMount() bool { return false }
