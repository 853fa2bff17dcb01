package driftdb

import (
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// ConstraintError says that a row violates a constraint of its table. The statement
// changed nothing.
type ConstraintError struct {
	Table  string // "" if SQLite does not say, and no repository knows
	Column string // several are separated by ", "; "" for foreignkey, and if SQLite does not say
	Kind   ConstraintKind
	Err    error // SQLite's own error
}

// ConstraintKind says what kind of constraint a row violates.
type ConstraintKind string

// The kinds of constraints.
const (
	ConstraintUnique     ConstraintKind = "unique" // UNIQUE, PRIMARY KEY, or the rowid
	ConstraintNotNull    ConstraintKind = "notnull"
	ConstraintForeignKey ConstraintKind = "foreignkey"
	ConstraintCheck      ConstraintKind = "check"
	ConstraintTrigger    ConstraintKind = "trigger"  // a trigger's RAISE
	ConstraintDatatype   ConstraintKind = "datatype" // of a column in a STRICT table
)

// Error names the table, the column, and what SQLite said.
func (e *ConstraintError) Error() string {
	said := strings.TrimPrefix(e.Err.Error(), strings.TrimPrefix(constraintFailed, " ")) // which is before the same in other words
	return fmt.Sprintf("driftdb: %s%s constraint: %s", place(e.Table, e.Column), e.Kind, said)
}

// Unwrap returns SQLite's error.
func (e *ConstraintError) Unwrap() error { return e.Err }

// SchemaError says what does not fit a schema: a definition that is invalid or that the
// table cannot follow, a column that does not exist, a value of the wrong type. No SQL
// was run.
type SchemaError struct {
	Table, Column string // "" if it is not about one
	Reason        string
}

// Error names the table, the column and the reason.
func (e *SchemaError) Error() string {
	return "driftdb: " + place(e.Table, e.Column) + e.Reason
}

// place names a table and a column in front of a message.
func place(table, column string) string {
	switch {
	case table != "" && column != "":
		return fmt.Sprintf("table %q, column %q: ", table, column)
	case table != "":
		return fmt.Sprintf("table %q: ", table)
	case column != "":
		return fmt.Sprintf("column %q: ", column)
	}
	return ""
}

// schemaError returns nil if err is something else.
func schemaError(table string, err error) error {
	e, ok := errors.AsType[*schema.Error](err)
	if !ok {
		return nil
	}
	out := SchemaError(*e)
	if out.Table == "" {
		out.Table = table
	}
	return &out
}

var constraintKinds = map[int]ConstraintKind{
	lib.SQLITE_CONSTRAINT_UNIQUE:     ConstraintUnique,
	lib.SQLITE_CONSTRAINT_PRIMARYKEY: ConstraintUnique,
	lib.SQLITE_CONSTRAINT_ROWID:      ConstraintUnique,
	lib.SQLITE_CONSTRAINT_NOTNULL:    ConstraintNotNull,
	lib.SQLITE_CONSTRAINT_FOREIGNKEY: ConstraintForeignKey,
	lib.SQLITE_CONSTRAINT_CHECK:      ConstraintCheck,
	lib.SQLITE_CONSTRAINT_TRIGGER:    ConstraintTrigger,
	lib.SQLITE_CONSTRAINT_DATATYPE:   ConstraintDatatype,
}

// constraintError returns nil if err is something else. Table may be "".
func constraintError(table string, err error) error {
	code := sqlite.Code(err)
	kind, ok := constraintKinds[code]
	if !ok {
		return nil
	}
	e := &ConstraintError{Table: table, Kind: kind, Err: err}
	if kind == ConstraintUnique || kind == ConstraintNotNull {
		e.locate(strings.TrimSuffix(err.Error(), fmt.Sprintf(" (%d)", code)))
	}
	return e
}

// constraintFailed comes before what a constraint is about, in SQLite's words.
const constraintFailed = " constraint failed: "

// locate reads what SQLite says after the last colon: "users.email", or
// several of that, or an index that is on expressions.
func (e *ConstraintError) locate(msg string) {
	_, what, ok := strings.Cut(msg, constraintFailed)
	if !ok || strings.HasPrefix(what, "index ") {
		return
	}
	var columns []string
	for name := range strings.SplitSeq(what, ", ") {
		table, column, ok := strings.Cut(name, ".")
		if own, known := strings.CutPrefix(name, e.Table+"."); known && e.Table != "" {
			table, column = e.Table, own // the names themselves may have dots
		}
		if !ok {
			return
		}
		e.Table = table
		columns = append(columns, column)
	}
	e.Column = strings.Join(columns, ", ")
}
