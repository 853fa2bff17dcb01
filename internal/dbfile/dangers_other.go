//go:build !linux && !darwin && !windows

package dbfile

// unsafeFileSystem names the kind of file system that the database is on, if it
// is one on which SQLite's WAL is known to break. Here it is not known.
func (f *File) unsafeFileSystem() (kind string, unsafe bool) { return "", false }

// isMount reports whether the file is mounted itself, apart from its folder. Nobody
// does that here.
func (f *File) isMount() bool { return false }
