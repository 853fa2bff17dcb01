package dbfile

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const accessList = "system.posix_acl_access"

// keepACL gives file the access control list of old, if that has one.
func keepACL(file, old string) error {
	size, err := unix.Lgetxattr(old, accessList, nil)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	list := make([]byte, size)
	if err == nil {
		size, err = unix.Lgetxattr(old, accessList, list)
	}
	if err == nil {
		err = unix.Lsetxattr(file, accessList, list[:size], 0)
	}
	if err != nil {
		return fmt.Errorf("give the new file the access control list of %s: %w", old, err)
	}
	return nil
}
