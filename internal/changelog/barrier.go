package changelog

import (
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Barrier appends a barrier to the log, in c's transaction.
func Barrier(c *sqlite.Conn, reason string) error {
	last, err := Last(c)
	if err != nil {
		return err
	}
	cookie, err := c.Int("PRAGMA main.schema_version")
	if err != nil {
		return err
	}
	st, err := c.Cached("INSERT INTO main._driftdb_log(sequence, count, time, schema, data) VALUES(?1, 1, ?2, ?3, ?4)")
	if err != nil {
		return err
	}
	defer st.Release()
	st.BindInt64(1, last+1)
	st.BindInt64(2, time.Now().UnixMilli())
	st.BindInt64(3, cookie)
	st.BindBlob(4, change.AppendBarrier(change.AppendHeader(nil, nil), reason))
	return st.Run()
}
