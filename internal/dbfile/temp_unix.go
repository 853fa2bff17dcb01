//go:build unix

package dbfile

import (
	"os"
	"syscall"
)

// isPrivate reports whether the folder is ours, and ours alone.
func isPrivate(folder string) bool {
	info, err := os.Lstat(folder)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}
