//go:build !(linux || darwin || freebsd || windows)

package syncer

// freeSpace is not known here; a copy that does not fit fails.
func freeSpace(string) (bytes int64, known bool) { return 0, false }

func isDiskFull(error) bool { return false }
