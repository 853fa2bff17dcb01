package dbfile

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const accessList = "system.posix_acl_access"

// keepACL gives file the access control list of old. If old has none it removes file's, which
// may have come from its folder.
func keepACL(file, old string) error {
	size, err := unix.Lgetxattr(old, accessList, nil)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	if errors.Is(err, unix.ENODATA) {
		if err := unix.Lremovexattr(file, accessList); err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("remove the access control list of its folder from the new file: %w", err)
		}
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
