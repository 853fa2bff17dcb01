package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
)

// ID tells files apart, whatever their names: the device and the inode, or the
// volume and the file's index on Windows. The zero ID is that of no file.
type ID struct {
	Device, Index uint64
}

// ErrReplaced says that the file at a database's path, or one that SQLite keeps
// beside it, is not the one that was opened.
var ErrReplaced = errors.New("the database file was replaced, moved, truncated or deleted while it was open")

// sideSuffixes are the endings of the files that SQLite keeps beside a database.
var sideSuffixes = []string{"-wal", "-shm", "-journal"}

// watched are the endings of the files that must stay the same while the
// database is open. Whoever removes one of them parts the connections that are
// open from those to come: two processes then write without knowing of each
// other.
var watched = []string{"", "-wal", "-shm", lockSuffix}

// identities are those of the watched files, in that order.
type identities [4]ID

func identitiesOf(path string) (ids identities, err error) {
	for i, suffix := range watched {
		if ids[i], err = identify(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return ids, err
		}
	}
	return ids, nil
}

// compare says what has become of the files at path.
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
