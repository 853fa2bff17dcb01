//go:build !(linux || darwin || freebsd || windows)

package dbfile

// FreeSpace is unknown here; a copy that does not fit fails.
func FreeSpace(string) (bytes int64, known bool) { return 0, false }

// IsDiskFull reports whether err means that the disk is full; that is unknown here.
func IsDiskFull(error) bool { return false }
