package capture

import (
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// reread makes a connection read the schema again after a transaction that changed it was
// rolled back, all of it or a part.
//
// SQLite forgets the schema in that case, but not if another statement that would have changed
// the schema has failed in the same transaction: that one makes SQLite read the schema anew
// there and then, and forget that the transaction had changed it. So the connection keeps the
// schema that was rolled back, with its number. The next connection that changes the schema
// uses the same number, for another one; after VACUUM, say, tables are at other pages. SQLite
// compares only the numbers, so the first connection would go on with the schema it has: it
// would read other tables' pages as its own, and write to them.
type reread struct {
	changed bool // the transaction has changed the schema
	due     bool // what it changed was rolled back
}

// schemaChanged is called when a statement has changed the schema.
func (s *reread) schemaChanged() { s.changed = true }

// rolledBack is called when a transaction, or a part of it, was rolled back.
func (s *reread) rolledBack() { s.due = s.due || s.changed }

// ended is called when a transaction has ended.
func (s *reread) ended() { s.changed = false }

// before is called before a statement, outside of transactions.
func (s *reread) before(c *sqlite.Conn) {
	if !s.due {
		return
	}
	writable := c.Has(sqlite.WriteSchema)
	if c.Exec("PRAGMA writable_schema=RESET") != nil { // also turns writable_schema off
		return // it stays due
	}
	s.due = false
	if writable {
		_ = c.Configure(lib.SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)
	}
}
