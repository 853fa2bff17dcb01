package changelog

import (
	"math"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Size is the size of the log.
type Size struct {
	Bytes  int64 // of all changes in it
	Unsent int64 // of those that the bucket does not have
	Since  int64 // when the first unsent change was committed, in Unix ms; 0: there is none
}

// SizeQuery is the query for ReadSize. It does not read the changes themselves.
const SizeQuery = `SELECT coalesce(sum(length(data)), 0), coalesce(sum(length(data)) FILTER (WHERE sequence > ?1), 0),
	(SELECT time FROM main._driftdb_log WHERE sequence > ?1 ORDER BY sequence LIMIT 1) FROM main._driftdb_log`

// ReadSize reads the size of a log whose changes up to acked are in the bucket. st is a
// statement for SizeQuery.
func ReadSize(st *sqlite.Stmt, acked int64) (size Size, err error) {
	st.BindInt64(1, acked)
	err = st.Each(func(st *sqlite.Stmt) error {
		size = Size{st.Int64(0), st.Int64(1), st.Int64(2)}
		return nil
	})
	return size, err
}

// defaultCap is how large the unsent log of a small database may grow.
const defaultCap = 256 << 20

// Cap determines when the unsent log has outgrown its limit. Changes that have been sent
// and are kept for a snapshot do not count: collapsing the log would not remove them.
type Cap struct {
	limit    int64 // 0: twice the size of the database, but at least defaultCap
	measured int64 // how much had been logged when the log was last measured; 0: never measured
}

// NewCap returns a cap with this limit in bytes. 0 means twice the size of the database,
// or 256 MiB if that is more. A negative limit means none.
func NewCap(limit int64) *Cap {
	if limit < 0 {
		limit = math.MaxInt64
	}
	return &Cap{limit: limit}
}

// Due reports whether the log must be measured, which is the case each time an eighth of
// the limit has been written. So the cap costs nothing most of the time. logged is how
// many bytes have been written so far.
func (c *Cap) Due(logged int64) bool {
	if c.measured != 0 && logged-c.measured < c.atLeast()/8 {
		return false
	}
	c.measured = max(logged, 1)
	return true
}

// Exceeded returns the limit, and reports whether the log has outgrown it. size is the
// size of the database in bytes, including the log.
func (c *Cap) Exceeded(log Size, size int64) (limit int64, is bool) {
	limit = c.atLeast()
	if c.limit == 0 {
		limit = max(limit, 2*(size-log.Bytes))
	}
	return limit, log.Unsent > limit
}

func (c *Cap) atLeast() int64 {
	if c.limit == 0 {
		return defaultCap
	}
	return c.limit
}
