//go:build linux || darwin || freebsd

package dbfile

import (
	"errors"

	"golang.org/x/sys/unix"
)

// FreeSpace is how many bytes this user may still write in folder.
func FreeSpace(folder string) (bytes int64, known bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}

// IsDiskFull reports whether err means that the disk, or the user's share of it, is full.
func IsDiskFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
