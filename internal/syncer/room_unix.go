//go:build linux || darwin || freebsd

package syncer

import (
	"errors"

	"golang.org/x/sys/unix"
)

// freeSpace is how many bytes a user may still write in folder.
func freeSpace(folder string) (bytes int64, known bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}

func isDiskFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
