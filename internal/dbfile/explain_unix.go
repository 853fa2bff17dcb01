//go:build unix

package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	"golang.org/x/sys/unix"
)

// Explain adds to an error of SQLite's, which says that a file cannot be opened
// or written, which one that is.
func (f *File) Explain(err error) error {
	if !sqlite.NotOpened(err) && !sqlite.IsReadOnly(err) {
		return err
	}
	var closed []string
	for _, suffix := range append([]string{""}, sideSuffixes...) {
		if _, err := os.Lstat(f.path + suffix); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if unix.Access(f.path+suffix, unix.R_OK|unix.W_OK) != nil {
			closed = append(closed, f.path+suffix)
		}
	}
	if folder := filepath.Dir(f.path); unix.Access(folder, unix.W_OK|unix.X_OK) != nil {
		closed = append(closed, "the folder "+folder)
	}
	if len(closed) == 0 {
		return err
	}
	return fmt.Errorf("%w: this user cannot read and write %s (%v)", fs.ErrPermission, strings.Join(closed, ", "), err)
}
