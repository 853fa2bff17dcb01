package changelog

import (
	"math"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Size is what the log holds.
type Size struct {
	Bytes  int64 // of the changes in it …
	Unsent int64 // … and of those that the bucket does not have
	Since  int64 // when the first of these was committed, in Unix ms; 0: there is none
}

// SizeQuery is what ReadSize reads by. It does not read the changes themselves.
const SizeQuery = `SELECT coalesce(sum(length(data)), 0), coalesce(sum(length(data)) FILTER (WHERE sequence > ?1), 0),
	(SELECT time FROM main._driftdb_log WHERE sequence > ?1 ORDER BY sequence LIMIT 1) FROM main._driftdb_log`

// ReadSize reads the size of a log of which the bucket has the changes up to acked. st is
// a statement for SizeQuery.
func ReadSize(st *sqlite.Stmt, acked int64) (size Size, err error) {
	st.BindInt64(1, acked)
	err = st.Each(func(st *sqlite.Stmt) error {
		size = Size{st.Int64(0), st.Int64(1), st.Int64(2)}
		return nil
	})
	return size, err
}

// defaultCap is how large an unsent log may grow beside a small database.
const defaultCap = 256 << 20

// Cap says when an unsent log has outgrown its limit. What has been sent and is kept for
// a snapshot does not count: giving it up would not shrink it.
type Cap struct {
	limit    int64 // 0: twice the size of the database, and defaultCap at least
	measured int64 // how much had been logged when the log was measured last; 0: not yet
}

// NewCap returns a cap with this limit in bytes. With 0 the limit is twice the size of the
// database, or 256 MiB if that is more; a negative one is none.
func NewCap(limit int64) *Cap {
	if limit < 0 {
		limit = math.MaxInt64
	}
	return &Cap{limit: limit}
}

// Due reports whether the log must be measured: after an eighth of the limit has been
// written to it. So the cap costs nothing most of the time. logged is how many bytes have
// been written so far.
func (c *Cap) Due(logged int64) bool {
	if c.measured != 0 && logged-c.measured < c.atLeast()/8 {
		return false
	}
	c.measured = max(logged, 1)
	return true
}

// Exceeded reports whether the log has outgrown the limit, and which that is. The database
// has size bytes, with the log in it.
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
