package syncer

import (
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// margin is what a copy must leave free beside a tenth of its size: the WAL
// grows meanwhile, and other programs want to live.
const margin = 64 << 20

// roomError says that the copy for a snapshot does not fit.
type roomError struct {
	need, free int64
	folder     string
}

func (e *roomError) Error() string {
	return fmt.Sprintf("a copy of the database needs %d MiB in %s, where %d MiB are free", e.need>>20, e.folder, e.free>>20)
}

// checkRoom is a roomError if a copy of c's database does not fit into folder.
func checkRoom(c *sqlite.Conn, folder string) error {
	free, known := dbfile.FreeSpace(folder)
	if !known {
		return nil // the copy itself finds out
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

// noRoom says that a copy failed because there was no room for it.
func noRoom(err error) bool {
	_, known := errors.AsType[*roomError](err)
	return known || sqlite.IsFull(err) || dbfile.IsDiskFull(err)
}
