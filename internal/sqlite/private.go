package sqlite

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	lib "modernc.org/sqlite/lib"
)

// This file and walindex.go read structs that SQLite keeps to itself, and nothing else
// does: a later SQLite may give a field another meaning, and no compiler sees that. What
// each field here is taken for is tried out before the first connection of the process is
// handed out; see probe.go. Those of a WAL need a file: Ledger.Start looks at them.

func (c *Conn) handle() *lib.Tsqlite3 { return cmem.At[lib.Tsqlite3](c.DB) }

// dropMutex takes SQLite's mutex off the connection, as SQLITE_OPEN_NOMUTEX would have it:
// every call, and every column of every row, locks it, and
// the connection has one user at a time (see Conn). Close puts it back: SQLite frees it.
func (c *Conn) dropMutex() {
	if db := c.handle(); db.Fmutex != 0 {
		c.mutex, db.Fmutex = db.Fmutex, 0
	}
}

func (c *Conn) restoreMutex() {
	if c.mutex != 0 {
		c.handle().Fmutex = c.mutex
	}
}

// Counters are what last_insert_rowid(), changes() and total_changes() say.
type Counters struct{ LastRowID, Changes, TotalChanges int64 }

// Counters returns the connection's.
func (c *Conn) Counters() Counters {
	db := c.handle()
	return Counters{db.FlastRowid, db.FnChange, db.FnTotalChange}
}

// SetCounters makes the connection's n. Of the three, SQLite lets a program set the first
// one only.
func (c *Conn) SetCounters(n Counters) {
	db := c.handle()
	db.FlastRowid, db.FnChange, db.FnTotalChange = n.LastRowID, n.Changes, n.TotalChanges
}

// LastRowID is the rowid of the last row that was inserted.
func (c *Conn) LastRowID() int64 { return c.handle().FlastRowid }

// Nested says, within a hook, that the statement runs within another one: a virtual
// table's, in most cases.
func (c *Conn) Nested() bool { return c.handle().FnVdbeExec > 1 }

// Joined is how many virtual tables take part in the transaction. At its end SQLite calls
// them in the order in which they joined.
func (c *Conn) Joined() int32 { return c.handle().FnVTrans }

// Syncing says, within a hook, that the commit calls the xSync of the virtual tables:
// meanwhile SQLite has their list in hand.
func (c *Conn) Syncing() bool {
	db := c.handle()
	return db.FnVTrans > 0 && db.FaVTrans == 0
}

// JoinedOf says whether a virtual table of a module takes part in the transaction, under
// whatever name. While they are Syncing it says no.
func (c *Conn) JoinedOf(module string) bool {
	db := c.handle()
	if db.FaVTrans == 0 {
		return false
	}
	for i := range uintptr(db.FnVTrans) {
		table := cmem.At[lib.TVTable](*cmem.At[uintptr](db.FaVTrans + i*8))
		if string(CString(cmem.At[lib.TModule](table.FpMod).FzName)) == module {
			return true
		}
	}
	return false
}

// SchemaMark tells one state of main's schema, as a connection has it in memory, from
// another. The cookie alone would not do: a change that is rolled back and another one
// give the same number.
type SchemaMark struct {
	Cookie     int64 // PRAGMA schema_version
	generation int64 // goes up whenever the connection forgets the schema
}

func (c *Conn) schema() *lib.TSchema {
	return cmem.At[lib.TSchema](cmem.At[lib.TDb](c.handle().FaDb).FpSchema)
}

// SchemaMark is the one of what the connection has in memory now.
func (c *Conn) SchemaMark() SchemaMark {
	s := c.schema()
	return SchemaMark{int64(s.Fschema_cookie), int64(s.FiGeneration)}
}

// schemaLoaded says that the connection has main's schema in memory.
func (c *Conn) schemaLoaded() bool { return c.schema().FschemaFlags&lib.DB_SchemaLoaded != 0 }

// eachVirtualTable calls fn with the name of each of main's virtual tables, if the schema
// is loaded.
func (c *Conn) eachVirtualTable(fn func(name string)) {
	for e := c.schema().FtblHash.Ffirst; e != 0; {
		elem := cmem.At[lib.THashElem](e)
		if t := cmem.At[lib.TTable](elem.Fdata); t.FeTabType == lib.TABTYP_VTAB {
			fn(text(t.FzName))
		}
		e = elem.Fnext
	}
}

// Setting is a switch of a connection that decides how it understands statements.
type Setting uint64

// The settings.
const (
	WriteSchema      Setting = lib.SQLITE_WriteSchema
	ForeignKeys      Setting = lib.SQLITE_ForeignKeys
	LegacyAlterTable Setting = lib.SQLITE_LegacyAlter
	DoubleQuotedDDL  Setting = lib.SQLITE_DqsDDL
	DoubleQuotedDML  Setting = lib.SQLITE_DqsDML
)

// Has says whether s is on. To ask with a PRAGMA would need a statement.
func (c *Conn) Has(s Setting) bool { return Setting(c.handle().Fflags)&s != 0 }

// busyTimeout is the one of the sqlite3* db, in milliseconds; PRAGMA busy_timeout shows it.
func busyTimeout(db uintptr) *int32 { return &cmem.At[lib.Tsqlite3](db).FbusyTimeout }

// A cell is a column of the row that a statement stands on, in SQLite's memory.
type cell = lib.Tsqlite3_value

// cell returns column i, and which one of the kinds of values it has and no other: SQLite
// may have converted it. To ask SQLite takes a call with a lock and a check for each
// question. It is nil where SQLite must be asked: there is no row, or no such column.
func (st *Stmt) cell(i int) (*cell, uint16) {
	v := cmem.At[lib.TVdbe](st.p)
	if v.FpResultRow == 0 || uint(i) >= uint(v.FnResColumn) {
		return nil, 0
	}
	m := cmem.At[cell](v.FpResultRow + uintptr(i)*cmem.Size[cell]())
	return m, m.Fflags & lib.MEM_AffMask
}

// whole says that all bytes of a TEXT or BLOB are where the cell says, as SQLite gives them.
func whole(m *cell, kind uint16) bool {
	return kind == lib.MEM_Str && m.Fenc == lib.SQLITE_UTF8 || kind == lib.MEM_Blob && m.Fflags&lib.MEM_Zero == 0
}
