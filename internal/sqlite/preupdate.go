package sqlite

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	lib "modernc.org/sqlite/lib"
)

// OldValue returns, within a preupdate hook, the sqlite3_value of a column of the row being
// updated or deleted, or 0 if there is none.
func (c *Conn) OldValue(column int) uintptr {
	p := cmem.At[uintptr](c.cells)
	*p = 0
	lib.Xsqlite3_preupdate_old(c.TLS, c.DB, int32(column), c.cells)
	return *p
}

// NewValue is OldValue for the row's new version.
func (c *Conn) NewValue(column int) uintptr {
	p := cmem.At[uintptr](c.cells)
	*p = 0
	lib.Xsqlite3_preupdate_new(c.TLS, c.DB, int32(column), c.cells)
	return *p
}
