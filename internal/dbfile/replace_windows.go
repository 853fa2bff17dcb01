package dbfile

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// renameWait bounds how long a scanner or a backup program may have the file open.
const renameWait = 2 * time.Second

// rename retries while another program has the file open.
func rename(from, to string) error {
	for deadline := time.Now().Add(renameWait); ; time.Sleep(20 * time.Millisecond) {
		err := os.Rename(from, to)
		shared := errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_SHARING_VIOLATION)
		if !shared || time.Now().After(deadline) {
			return err
		}
	}
}

func mountHint(error) string { return "" }

// syncFolder does nothing: Windows cannot sync a folder, and NTFS journals name changes in
// order.
func syncFolder(string) error { return nil }
