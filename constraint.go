package driftdb

import (
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/rows"
	"github.com/driftdb/driftdb-go/internal/schema"
)

// ConstraintError reports that a row violates a constraint of its table. The statement
// changed nothing.
type ConstraintError struct {
	Table  string // "" if SQLite does not say, and no repository knows
	Column string // several are separated by ", "; "" for foreignkey, and if SQLite does not say
	Kind   ConstraintKind
	Err    error // SQLite's own error
}

// ConstraintKind is the kind of constraint that a row violates.
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
	return fmt.Sprintf("driftdb: %s%s constraint: %s", place(e.Table, e.Column), e.Kind, rows.Said(e.Err))
}

// Unwrap returns SQLite's error.
func (e *ConstraintError) Unwrap() error { return e.Err }

// SchemaError describes what does not fit a schema: a definition that is invalid or that
// the table cannot follow, a column that does not exist, a value of the wrong type. No SQL
// was run.
type SchemaError struct {
	Table, Column string // "" if it is not about one
	Reason        string
}

// Error names the table, the column and the reason.
func (e *SchemaError) Error() string {
	return "driftdb: " + place(e.Table, e.Column) + e.Reason
}

// place formats a table and a column as the prefix of a message.
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

// schemaError converts a *schema.Error, and returns nil for any other error.
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

// constraintError converts a constraint violation, and returns nil for any other error.
// table may be "".
func constraintError(table string, err error) error {
	v := rows.ViolationOf(table, err)
	if v == nil {
		return nil
	}
	return &ConstraintError{Table: v.Table, Column: v.Column, Kind: ConstraintKind(v.Kind), Err: err}
}
