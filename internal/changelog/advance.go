package changelog

import (
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrOvertaken says that something was committed to the database while it was
// being brought up to date with its bucket.
var ErrOvertaken = errors.New("the database was written to in the meantime")

// Expect is an ErrOvertaken if the log does not end with sequence. In a transaction
// that holds the write lock it says that nothing of the database's own comes
// between.
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

// Advance makes c's database, whose log is in the bucket to its end and to which
// the changes that the bucket has after that were just applied, the continuation
// of the bucket's history up to b.Acked, as Continue does with a new database: in
// the transaction that applied them, or the file would hold changes that its log
// does not account for. The log starts over. last is the time of the last change
// (Unix ms); the digests next take the place of d.
//
// Shapes stay: connections remember their numbers. Uploads of earlier sessions go:
// what they were to send is in the bucket.
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
