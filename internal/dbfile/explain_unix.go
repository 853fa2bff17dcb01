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

// Explain adds detail to an error. If SQLite says that a file cannot be opened or written,
// Explain says which file; if the process or system has too many open files, it says so for
// any error.
func (f *File) Explain(err error) error {
	if !sqlite.NotOpened(err) && !sqlite.IsReadOnly(err) {
		return explainMany(err)
	}
	closed := closedTo(f.path)
	if len(closed) == 0 {
		return explainMany(err)
	}
	return fmt.Errorf("%w: this user cannot read and write %s (%v)", fs.ErrPermission, strings.Join(closed, ", "), err)
}

// closedTo lists what of a database's place this user cannot read and write.
func closedTo(path string) (closed []string) {
	for _, suffix := range append([]string{""}, sideSuffixes...) {
		if _, err := os.Lstat(path + suffix); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if unix.Access(path+suffix, unix.R_OK|unix.W_OK) != nil {
			closed = append(closed, path+suffix)
		}
	}
	if folder := filepath.Dir(path); unix.Access(folder, unix.W_OK|unix.X_OK) != nil {
		closed = append(closed, "the folder "+folder)
	}
	return closed
}

// filesOfOpen is at least the number of files that SQLite has open for a connection: the
// database, its -wal and -shm, a journal or a temporary file, and for a moment the folder.
const filesOfOpen = 5

// explainMany names the limit if err means that no more files may be opened. SQLite does not
// say why it could not open a file, and what it had opened until then is closed by now: so the
// check opens as many files itself.
func explainMany(err error) error {
	if why := limitOf(err); why != 0 {
		return tooMany(why, err)
	}
	if !sqlite.NotOpened(err) {
		return err
	}
	for range filesOfOpen {
		fd, why := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if why == nil {
			defer unix.Close(fd)
		} else if why := limitOf(why); why != 0 {
			return tooMany(why, err)
		}
	}
	return err
}

// limitOf is the limit on open files that err reports, or 0 if it is another error.
func limitOf(err error) unix.Errno {
	for _, limit := range []unix.Errno{unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, limit) {
			return limit
		}
	}
	return 0
}

// limitError is an error that has been explained.
type limitError struct {
	limit unix.Errno
	err   error
}

func tooMany(limit unix.Errno, err error) error {
	if _, ok := errors.AsType[*limitError](err); ok {
		return err
	}
	return &limitError{limit, err}
}

func (e *limitError) Unwrap() error { return e.limit }

func (e *limitError) Error() string {
	advice := "this process has as many as it may have; raise its limit (ulimit -n, LimitNOFILE= of a systemd service) or open fewer databases"
	if e.limit == unix.ENFILE {
		advice = "all processes together have as many as the system allows; raise that (fs.file-max, kern.maxfiles)"
	}
	return fmt.Sprintf("%v: %s (%v)", e.limit, advice, e.err)
}
