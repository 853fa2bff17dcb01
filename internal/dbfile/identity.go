package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
)

// ID identifies a file regardless of its names: by device and inode, or by volume and file
// index on Windows. The zero ID is that of no file.
type ID struct {
	Device, Index uint64
}

// ErrReplaced means that the file at a database's path, or one that SQLite keeps beside it, is
// not the one that was opened.
var ErrReplaced = errors.New("the database file was replaced, moved, truncated or deleted while it was open")

// sideSuffixes are the suffixes of the files that SQLite keeps beside a database.
var sideSuffixes = []string{"-wal", "-shm", "-journal"}

// watched are the suffixes of the files that must stay the same while the database is open.
// Removing one of them separates the open connections from later ones: two processes then
// write without knowing of each other.
var watched = []string{"", "-wal", "-shm", lockSuffix}

// identities are the IDs of the watched files, in that order.
type identities [4]ID

func identitiesOf(path string) (ids identities, err error) {
	for i, suffix := range watched {
		if ids[i], err = identify(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return ids, err
		}
	}
	return ids, nil
}

// compare returns an error that says what has become of the files at path.
func (was identities) compare(path string) error {
	now, err := identitiesOf(path)
	if err != nil {
		return fmt.Errorf("%w: it cannot be inspected: %w", ErrReplaced, err)
	}
	for i, suffix := range watched {
		switch {
		case was[i] == now[i]:
		case now[i] == (ID{}):
			return fmt.Errorf("%w: %s is gone (deleted, its folder renamed, or its disk unmounted)", ErrReplaced, path+suffix)
		default:
			return fmt.Errorf("%w: %s is a different file now", ErrReplaced, path+suffix)
		}
	}
	return nil
}
