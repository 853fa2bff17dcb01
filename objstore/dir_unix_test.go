//go:build !windows

package objstore

import "syscall"

var busyErrnos = []error{syscall.EBUSY, syscall.ETXTBSY, syscall.EACCES}
