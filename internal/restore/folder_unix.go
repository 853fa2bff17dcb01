//go:build !windows

package restore

import (
	"errors"
	"os"
)

// syncFolder puts a folder's entries on disk.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
