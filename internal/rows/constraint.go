package rows

import (
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Kind is the kind of constraint that a row violates.
type Kind string

// The kinds of constraints.
const (
	Unique     Kind = "unique"
	NotNull    Kind = "notnull"
	ForeignKey Kind = "foreignkey"
	Check      Kind = "check"
	Trigger    Kind = "trigger"
	Datatype   Kind = "datatype"
)

// Violation describes how a row violates a constraint, as far as SQLite tells.
type Violation struct {
	Table  string // "" if unknown
	Column string // several are separated by ", "; "" if unknown
	Kind   Kind
}

var kinds = map[int]Kind{
	lib.SQLITE_CONSTRAINT_UNIQUE:     Unique,
	lib.SQLITE_CONSTRAINT_PRIMARYKEY: Unique,
	lib.SQLITE_CONSTRAINT_ROWID:      Unique,
	lib.SQLITE_CONSTRAINT_NOTNULL:    NotNull,
	lib.SQLITE_CONSTRAINT_FOREIGNKEY: ForeignKey,
	lib.SQLITE_CONSTRAINT_CHECK:      Check,
	lib.SQLITE_CONSTRAINT_TRIGGER:    Trigger,
	lib.SQLITE_CONSTRAINT_DATATYPE:   Datatype,
}

// ViolationOf returns the violation that err reports, or nil. table is the table that was
// written to, or "".
func ViolationOf(table string, err error) *Violation {
	code := sqlite.Code(err)
	kind, ok := kinds[code]
	if !ok {
		return nil
	}
	v := &Violation{Table: table, Kind: kind}
	if kind == Unique || kind == NotNull {
		v.locate(strings.TrimSuffix(err.Error(), fmt.Sprintf(" (%d)", code)))
	}
	return v
}

// failed precedes the subject of the constraint in SQLite's messages.
const failed = " constraint failed: "

// locate parses the part of SQLite's message after failed: "users.email", or a list of
// such names, or an index on expressions.
func (v *Violation) locate(msg string) {
	_, what, ok := strings.Cut(msg, failed)
	if !ok || strings.HasPrefix(what, "index ") {
		return
	}
	var columns []string
	for name := range strings.SplitSeq(what, ", ") {
		table, column, ok := strings.Cut(name, ".")
		if own, known := strings.CutPrefix(name, v.Table+"."); known && v.Table != "" {
			table, column = v.Table, own // the names themselves may have dots
		}
		if !ok {
			return
		}
		v.Table = table
		columns = append(columns, column)
	}
	v.Column = strings.Join(columns, ", ")
}

// Said returns SQLite's message about a violation, without the leading words that callers
// replace with their own.
func Said(err error) string {
	return strings.TrimPrefix(err.Error(), strings.TrimPrefix(failed, " "))
}

// Expression returns the expression of the CHECK that err reports as violated.
func Expression(err error) string {
	_, expression, _ := strings.Cut(err.Error(), failed)
	return expression
}
