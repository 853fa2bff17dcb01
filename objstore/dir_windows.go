package objstore

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// syncFolder does nothing: Windows has no way to sync a folder, and NTFS
// writes changes of names to its journal in order.
func syncFolder(*os.Root, string) error { return nil }

// cannotHold says whether the file system has refused a name for good.
func cannotHold(err error) bool {
	return errors.Is(err, windows.ERROR_INVALID_NAME) ||
		errors.Is(err, windows.ERROR_FILENAME_EXCED_RANGE) ||
		errors.Is(err, syscall.ENAMETOOLONG)
}
