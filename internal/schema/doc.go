// Package schema knows what a table looks like from both sides: as a Go struct or a list
// of columns, and as SQL. It converts between them: DDL that creates a table or brings it
// up to date, the values of a row from and to Go, and the text of the statements that
// repositories run.
//
// It never touches a database. It returns statements as text with their arguments, and
// reaches rows and parameters through Row and Binder.
//
// Two rules hold everywhere. Names in a statement come from the Table and are quoted;
// values are bound. And anything that does not fit the schema is an *Error before a
// statement is built.
package schema

import (
	"fmt"
	"strings"
)

// Error describes something that does not fit a schema. Table and Column are empty if the
// error concerns neither.
type Error struct {
	Table, Column, Reason string
}

// Error names the table, the column and the reason.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Table != "" {
		fmt.Fprintf(&b, "table %q: ", e.Table)
	}
	if e.Column != "" {
		fmt.Fprintf(&b, "column %q: ", e.Column)
	}
	b.WriteString(e.Reason)
	return b.String()
}
