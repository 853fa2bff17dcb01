package sqlite

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	lib "modernc.org/sqlite/lib"
)

// Only this file and walindex.go read SQLite's private structs. A later SQLite may change the
// meaning of a field, and no compiler would notice. So the assumptions about each field here
// are tested before the process hands out its first connection; see probe.go. Those about a
// WAL need a file, and Ledger.Start checks them.

func (c *Conn) handle() *lib.Tsqlite3 { return cmem.At[lib.Tsqlite3](c.DB) }

// dropMutex removes SQLite's mutex from the connection, as SQLITE_OPEN_NOMUTEX would. Every
// call, and every column of every row, would lock it, and the connection has one user at a
// time (see Conn). Close restores the mutex, because SQLite frees it.
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

// Counters are the values of last_insert_rowid(), changes() and total_changes().
type Counters struct{ LastRowID, Changes, TotalChanges int64 }

// Counters returns the connection's counters.
func (c *Conn) Counters() Counters {
	db := c.handle()
	return Counters{db.FlastRowid, db.FnChange, db.FnTotalChange}
}

// SetCounters sets the connection's counters to n. SQLite's API can set only the first of the
// three.
func (c *Conn) SetCounters(n Counters) {
	db := c.handle()
	db.FlastRowid, db.FnChange, db.FnTotalChange = n.LastRowID, n.Changes, n.TotalChanges
}

// LastRowID is the rowid of the last inserted row.
func (c *Conn) LastRowID() int64 { return c.handle().FlastRowid }

// Nested reports, within a hook, whether the statement runs inside another one, in most cases
// a virtual table's.
func (c *Conn) Nested() bool { return c.handle().FnVdbeExec > 1 }

// Joined is how many virtual tables take part in the transaction. At its end SQLite calls them
// in the order in which they joined.
func (c *Conn) Joined() int32 { return c.handle().FnVTrans }

// Syncing reports, within a hook, whether the commit is calling the xSync of the virtual
// tables. SQLite has taken their list off the connection meanwhile.
func (c *Conn) Syncing() bool {
	db := c.handle()
	return db.FnVTrans > 0 && db.FaVTrans == 0
}

// JoinedOf reports whether a virtual table of a module takes part in the transaction, whatever
// its name. It returns false while Syncing.
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

// SchemaMark distinguishes the states of main's schema that a connection has in memory. The
// cookie alone would not do: a change that is rolled back and the next change get the same
// number.
type SchemaMark struct {
	Cookie     int64 // PRAGMA schema_version
	generation int64 // grows whenever the connection forgets the schema
}

func (c *Conn) schema() *lib.TSchema {
	return cmem.At[lib.TSchema](cmem.At[lib.TDb](c.handle().FaDb).FpSchema)
}

// SchemaMark returns the mark of the schema that the connection has in memory now.
func (c *Conn) SchemaMark() SchemaMark {
	s := c.schema()
	return SchemaMark{int64(s.Fschema_cookie), int64(s.FiGeneration)}
}

// schemaLoaded reports whether the connection has main's schema in memory.
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

// Setting is a switch of a connection that affects how it interprets statements.
type Setting uint64

// The settings.
const (
	WriteSchema      Setting = lib.SQLITE_WriteSchema
	ForeignKeys      Setting = lib.SQLITE_ForeignKeys
	LegacyAlterTable Setting = lib.SQLITE_LegacyAlter
	DoubleQuotedDDL  Setting = lib.SQLITE_DqsDDL
	DoubleQuotedDML  Setting = lib.SQLITE_DqsDML
)

// Has reports whether s is on. A PRAGMA would need a statement.
func (c *Conn) Has(s Setting) bool { return Setting(c.handle().Fflags)&s != 0 }

// busyTimeout is the busy timeout of the sqlite3* db in milliseconds, which PRAGMA
// busy_timeout shows.
func busyTimeout(db uintptr) *int32 { return &cmem.At[lib.Tsqlite3](db).FbusyTimeout }

// cell is a column of the statement's current row, in SQLite's memory.
type cell = lib.Tsqlite3_value

// cell returns column i and its type bits, of which there are several if SQLite has converted
// the value. Each question to SQLite's API would cost a call with a lock and a check. The cell
// is nil where SQLite must be asked: there is no row, or no such column.
func (st *Stmt) cell(i int) (*cell, uint16) {
	v := cmem.At[lib.TVdbe](st.p)
	if v.FpResultRow == 0 || uint(i) >= uint(v.FnResColumn) {
		return nil, 0
	}
	m := cmem.At[cell](v.FpResultRow + uintptr(i)*cmem.Size[cell]())
	return m, m.Fflags & lib.MEM_AffMask
}

// whole reports whether the cell holds all bytes of a TEXT or BLOB as SQLite would return
// them.
func whole(m *cell, kind uint16) bool {
	return kind == lib.MEM_Str && m.Fenc == lib.SQLITE_UTF8 || kind == lib.MEM_Blob && m.Fflags&lib.MEM_Zero == 0
}
