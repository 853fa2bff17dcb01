//go:build unix

package dbfile

import (
	"errors"
	"os"
	"syscall"
)

func rename(from, to string) error { return os.Rename(from, to) }

// mountHint returns advice for the two failures of a rename that look odd.
func mountHint(err error) string {
	switch {
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EXDEV):
		return " (it is a mount of its own; mount its folder instead, which SQLite's files beside it need, too)"
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return " (the folder lets nobody but the file's owner replace it)"
	}
	return ""
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
