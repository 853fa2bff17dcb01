// Package change knows what one committed change is, and its compact binary
// form, the data column of _driftdb_log.
package change

// Kind is the storage class of a Value.
type Kind uint8

// The storage classes of SQLite.
const (
	Null Kind = iota
	Integer
	Real
	Text
	Blob
)

// Value is one SQLite value, exactly: text may hold NUL bytes and need not be
// UTF-8.
type Value struct {
	Kind  Kind
	Int   int64   // Integer
	Real  float64 // Real
	Bytes []byte  // Text and Blob
}

// Column is a named value of a row.
type Column struct {
	Name  string
	Value Value
}

// Op says what a change did.
type Op uint8

// The operations, with the names that batches use for them.
const (
	Insert  Op = iota + 1 // "insert"
	Update                // "update"
	Delete                // "delete"
	Schema                // "schema": a statement that changes the schema
	Barrier               // "barrier": from here a snapshot is needed
)

var opNames = [...]string{Insert: "insert", Update: "update", Delete: "delete", Schema: "schema", Barrier: "barrier"}

func (o Op) String() string {
	if int(o) < len(opNames) && o != 0 {
		return opNames[o]
	}
	return "unknown"
}

// ParseOp is the inverse of String.
func ParseOp(s string) (Op, bool) {
	for i, n := range opNames {
		if n == s && i != 0 {
			return Op(i), true
		}
	}
	return 0, false
}

// Entry is one change: of one row, of the schema, or a barrier.
//
// A row is addressed by its rowid when it has one that is not itself a column
// (HasRowID), else by Key. Key always holds the primary key's columns, as they
// were before an update or delete and are after an insert; it is empty for a
// table without a primary key. Generated columns are never part of an entry.
type Entry struct {
	Op    Op
	Table string

	HasRowID bool
	RowID    int64 // before an update or delete, after an insert
	NewRowID int64 // after an update; equal to RowID unless it moved

	Key    []Column
	After  []Column // insert: the row. update: the changed columns
	Before []Column // delete: the row. update: the changed columns

	SQL      string   // Schema: the statement
	Settings Settings // Schema: what its meaning depends on
	Reason   string   // Barrier: why the log cannot be replayed across it
}

// Settings are the connection's settings that change what a schema statement
// does. A replay sets them before it runs the statement.
type Settings struct {
	ForeignKeys      bool
	LegacyAlterTable bool
	DoubleQuotedDDL  bool // double-quoted strings are accepted in DDL
	DoubleQuotedDML  bool // and in triggers and views
}

// Transaction is one committed transaction. Its entries have the sequence
// numbers First, First+1, …
type Transaction struct {
	First   int64
	Count   int64
	Time    int64 // Unix milliseconds; never goes back in a log
	Entries []Entry
}
