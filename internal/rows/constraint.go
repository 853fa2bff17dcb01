package rows

import (
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Kind says what kind of constraint a row violates.
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

// Violation is what SQLite says of a row that violates a constraint.
type Violation struct {
	Table  string // "" if it does not say, and nobody knows
	Column string // several are separated by ", "; "" if it does not say
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

// ViolationOf is the violation that err is, or nil. Table is the one that was written to,
// and may be "".
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

// failed comes before what a constraint is about, in SQLite's words.
const failed = " constraint failed: "

// locate reads what SQLite says after the last colon: "users.email", or
// several of that, or an index that is on expressions.
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

// Said is what SQLite says of a violation, without what is in front of the same in other
// words.
func Said(err error) string {
	return strings.TrimPrefix(err.Error(), strings.TrimPrefix(failed, " "))
}

// Expression is that of the CHECK which err says is violated.
func Expression(err error) string {
	_, expression, _ := strings.Cut(err.Error(), failed)
	return expression
}
