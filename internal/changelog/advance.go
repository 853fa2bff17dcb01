package changelog

import (
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrOvertaken means that something was committed to the database while it was being
// brought up to date with its bucket.
var ErrOvertaken = errors.New("the database was written to in the meantime")

// Expect returns an ErrOvertaken if the log does not end with sequence. Within a
// transaction that holds the write lock, it ensures that no other commit intervenes.
func Expect(c *sqlite.Conn, sequence int64) error {
	last, err := Last(c)
	if err != nil {
		return err
	}
	if last != sequence {
		return fmt.Errorf("%w: its log ends with %d, not with %d", ErrOvertaken, last, sequence)
	}
	return nil
}

// Advance makes c's database the continuation of the bucket's history up to b.Acked, as
// Continue does with a new database. The bucket must have all of the database's log, and
// the bucket's later changes must have been applied in the same transaction; otherwise
// the file would hold changes that its log does not account for. The log starts over.
// last is the time of the last change (Unix ms). The digests next replace d.
//
// Shapes are kept, because connections remember their numbers. Uploads of earlier
// sessions are dropped, because the bucket has their changes.
func Advance(c *sqlite.Conn, b Books, last int64, d, next Digests) error {
	if err := c.Exec("DELETE FROM main._driftdb_log; DELETE FROM main._driftdb_queue WHERE kind = 'upload'"); err != nil {
		return err
	}
	if err := setMeta(c, metaStart, b.Acked); err != nil {
		return err
	}
	if err := writeBooks(c, b); err != nil {
		return err
	}
	if err := writeDigests(c, d, next); err != nil {
		return err
	}
	return begin(c, b.Acked, last, false)
}
