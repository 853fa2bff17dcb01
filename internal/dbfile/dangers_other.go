//go:build !linux && !darwin && !windows

package dbfile

// unsafeFileSystem names the database's file system if SQLite's WAL is known to break on it.
// On this system that is unknown.
func (f *File) unsafeFileSystem() (kind string, unsafe bool) { return "", false }

// isMount reports whether the file itself is a mount, apart from its folder. That is not done
// on this system.
func (f *File) isMount() bool { return false }
