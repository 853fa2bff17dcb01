//go:build !linux && !darwin && !windows

package dbfile

// UnsafeFileSystem names the kind of file system that the database is on, if it
// is one on which SQLite's WAL is known to break. Here it is not known.
func (f *File) UnsafeFileSystem() (kind string, unsafe bool) { return "", false }
