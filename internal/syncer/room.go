package syncer

import (
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// margin is what a copy must leave free in addition to a tenth of its size: the WAL grows
// meanwhile, and other programs need space too.
const margin = 64 << 20

// roomError means that the copy for a snapshot does not fit on the disk.
type roomError struct {
	need, free int64
	folder     string
}

func (e *roomError) Error() string {
	return fmt.Sprintf("a copy of the database needs %d MiB in %s, where %d MiB are free", e.need>>20, e.folder, e.free>>20)
}

// checkRoom returns a roomError if a copy of c's database does not fit into folder.
func checkRoom(c *sqlite.Conn, folder string) error {
	free, known := dbfile.FreeSpace(folder)
	if !known {
		return nil // the copy fails if there is no room
	}
	pages, err := c.Int("PRAGMA page_count")
	if err != nil {
		return err
	}
	size, err := c.Int("PRAGMA page_size")
	if err != nil {
		return err
	}
	if need := pages*size + pages*size/10 + margin; need > free {
		return &roomError{need, free, folder}
	}
	return nil
}

// noRoom reports whether a copy failed for lack of disk space.
func noRoom(err error) bool {
	_, known := errors.AsType[*roomError](err)
	return known || sqlite.IsFull(err) || dbfile.IsDiskFull(err)
}
