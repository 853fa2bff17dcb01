package check

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Kind is a sort of fault.
type Kind string

const (
	// Damage says that pages of the file contradict each other: rows may be lost.
	Damage Kind = "damage"
	// Index says that an index does not have the entries that its table asks for. The
	// rows are there; a query that uses the index may not find them.
	Index Kind = "index"
	// Constraint says that rows break what their table's definition asks for: NOT NULL,
	// CHECK, a type of a STRICT table.
	Constraint Kind = "constraint"
	// Virtual says that a virtual table (FTS, R-tree) finds its own tables broken.
	Virtual Kind = "virtual"
	// Unreadable says that this program lacks a collation, a function, a tokenizer or a
	// module that the table or one of its indexes needs.
	Unreadable Kind = "unreadable"
)

// Fault is something that is wrong with a database. It names no rows or pages, unless
// they are all that there is: so the same fault is the same after other rows have come
// or gone.
type Fault struct {
	Kind  Kind   `json:"kind"`
	Table string `json:"table,omitempty"` // "": it belongs to none
	What  string `json:"what"`            // for people; SQLite's words, mostly
}

func (f Fault) String() string {
	if f.Table == "" {
		return fmt.Sprintf("%s: %s", f.Kind, f.What)
	}
	return fmt.Sprintf("%s of table %q: %s", f.Kind, f.Table, f.What)
}

// Compare orders faults.
func Compare(a, b Fault) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Table, b.Table), cmp.Compare(a.What, b.What))
}

// ofMessage reads one line that SQLite's check has said of a table.
func ofMessage(table, line string) Fault {
	f := Fault{Kind: Damage, Table: table, What: line}
	words := strings.Fields(line)
	if len(words) > 1 && words[0] == "row" && strings.Trim(words[1], "0123456789") == "" {
		f.What = "row" + strings.TrimPrefix(line, "row "+words[1])
	}
	if before, after, ok := strings.Cut(f.What, "rowid not at end-of-record for row "); ok && before == "" {
		_, index, _ := strings.Cut(after, " of index ")
		f.What = "rowid not at end-of-record of index " + index
	}
	for _, s := range signs {
		if strings.HasPrefix(f.What, s.start) {
			f.Kind = s.kind
			break
		}
	}
	return f
}

// signs are how the lines begin that SQLite's check says of what is no damage.
var signs = []struct {
	start string
	kind  Kind
}{
	{"row missing from index ", Index},
	{"row values differ from index ", Index},
	{"row not in PRIMARY KEY order for ", Index},
	{"rowid not at end-of-record of index ", Index},
	{"wrong # of entries in index ", Index},
	{"non-unique entry in index ", Index},
	{"NULL value in ", Constraint},
	{"CHECK constraint failed in ", Constraint},
	{"NUMERIC value in ", Constraint},
	{"TEXT value in ", Constraint},
	{"non-", Constraint}, // "non-INT value in t.a"
	{"malformed inverted index for ", Virtual},
	{"unable to validate the inverted index for ", Virtual},
	{"In RTree ", Virtual},
}

// words are SQLite's own.
func words(err error) string {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Msg
	}
	return err.Error()
}

// vague are SQLite's words where it has none.
const vague = "no query solution"
