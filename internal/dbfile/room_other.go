//go:build !(linux || darwin || freebsd || windows)

package dbfile

// FreeSpace is not known here; a copy that does not fit fails.
func FreeSpace(string) (bytes int64, known bool) { return 0, false }

// IsDiskFull reports whether err means that the disk is full, which is not known here.
func IsDiskFull(error) bool { return false }
