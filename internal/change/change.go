// Package change defines a committed change and its compact binary form, which is
// stored in the data column of _driftdb_log.
package change

import (
	"bytes"
	"math"
)

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

// Value is one exact SQLite value: text may hold NUL bytes and need not be UTF-8.
type Value struct {
	Kind  Kind
	Int   int64   // Integer
	Real  float64 // Real
	Bytes []byte  // Text and Blob
}

// Same reports whether v and o are the same value to the last bit: 5 and 5.0 are not.
func (v *Value) Same(o *Value) bool {
	return v.Kind == o.Kind && v.Int == o.Int && math.Float64bits(v.Real) == math.Float64bits(o.Real) && bytes.Equal(v.Bytes, o.Bytes)
}

// Column is a named value of a row.
type Column struct {
	Name  string
	Value Value
}

// Find returns the value of the named column in row, or nil if row has no such column.
func Find(row []Column, name string) *Value {
	for i := range row {
		if row[i].Name == name {
			return &row[i].Value
		}
	}
	return nil
}

// Op is the operation of a change.
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
// A row is addressed by its rowid if it has one that is not itself a column
// (HasRowID), else by Key. Key always holds the primary key's columns, with the
// values before an update or delete, or after an insert; it is empty for a table
// without a primary key. Generated columns are never part of an entry.
type Entry struct {
	Op    Op
	Table string

	HasRowID bool
	RowID    int64 // before an update or delete, after an insert
	NewRowID int64 // after an update; equal to RowID unless it moved

	Key    []Column
	After  []Column // insert: the row. update: the changed columns, or all if the row Moved
	Before []Column // delete: the row. update: the same columns as After

	SQL      string   // Schema: the statement
	Settings Settings // Schema: the settings that its meaning depends on
	Reason   string   // Barrier: why the log cannot be replayed across it
	Count    int64    // Barrier: how many sequence numbers it stands for, if more than one; else 0
}

// Moved reports whether an update changed the row's identity: its rowid, or its key if
// rows are not addressed by rowid.
func (e *Entry) Moved() bool {
	if e.Op != Update || e.HasRowID {
		return e.Op == Update && e.NewRowID != e.RowID
	}
	for i := range e.Key {
		if v := Find(e.After, e.Key[i].Name); v != nil && !v.Same(&e.Key[i].Value) {
			return true
		}
	}
	return false
}

// Width returns how many sequence numbers the entry takes: one, unless it is a
// barrier that stands for a range.
func (e *Entry) Width() int64 { return max(e.Count, 1) }

// Settings are the connection settings that affect what a schema statement does. A
// replay sets them before it runs the statement.
type Settings struct {
	ForeignKeys      bool
	LegacyAlterTable bool
	DoubleQuotedDDL  bool // double-quoted strings are accepted in DDL
	DoubleQuotedDML  bool // and in triggers and views
}

// Transaction is one committed transaction. Its entries have the sequence numbers
// First, First+1, … A barrier that stands for a range is the only entry of its
// transaction and takes all its numbers.
type Transaction struct {
	First   int64
	Count   int64
	Time    int64 // Unix milliseconds, by the committing node's clock; may go back within a log
	Entries []Entry
}
