package check

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	// ForeignKey says that rows refer to a missing row, or that a foreign key
	// does not fit the table that it refers to.
	ForeignKey Kind = "foreign key"
	// Virtual says that a virtual table (FTS, R-tree) finds its own tables broken.
	Virtual Kind = "virtual"
	// Unreadable says that this program lacks a collation, a function, a tokenizer or a
	// module that the table or one of its indexes needs.
	Unreadable Kind = "unreadable"
)

// Fault is something that is wrong with a database. It names no rows, so the same fault
// is the same after other rows have come or gone.
type Fault struct {
	Kind  Kind
	Table string // "": it belongs to none
	What  string // for people; SQLite's words, mostly
}

func (f Fault) String() string { return Words(f.Table, f.What) }

// ByTable is what is wrong with each table that has a fault; "" stands for the file, and
// for the faults that there is no room for.
func ByTable(faults []Fault) map[string][]string {
	m := map[string][]string{}
	for _, f := range faults[:min(len(faults), MaxFaults)] {
		m[f.Table] = append(m[f.Table], f.What)
	}
	if n := len(faults) - MaxFaults; n > 0 {
		m[""] = append(m[""], fmt.Sprintf("there are %d other faults", n))
	}
	return m
}

// damaged is how the words of a Damage begin, so that it can be told by them.
const damaged = "damaged: "

// Damaged says of one of ByTable's lists that there is damage in it.
func Damaged(whats []string) bool {
	return slices.ContainsFunc(whats, func(what string) bool { return strings.HasPrefix(what, damaged) })
}

// List is what ByTable says, for people.
func List(byTable map[string][]string) (list []string) {
	for _, table := range slices.Sorted(maps.Keys(byTable)) {
		for _, what := range byTable[table] {
			list = append(list, Words(table, what))
		}
	}
	return list
}

// Words says what is wrong with a table.
func Words(table, what string) string {
	if table == "" {
		return what
	}
	return fmt.Sprintf("table %q: %s", table, what)
}

// Compare orders faults by their tables.
func Compare(a, b Fault) int {
	return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.What, b.What))
}

// ofMessage reads what SQLite's check has said of a table: a line, or several under a
// heading.
func ofMessage(table, message string) (faults []Fault) {
	heading, rest, _ := strings.Cut(message, "\n")
	kind := Damage
	switch {
	case strings.HasPrefix(heading, "In RTree "):
		kind = Virtual
	case strings.HasPrefix(heading, "*** in database "):
	default:
		return []Fault{ofLine(table, message)}
	}
	for line := range strings.SplitSeq(rest, "\n") {
		if line != "" {
			faults = append(faults, Fault{kind, table, line})
		}
	}
	return faults
}

func ofLine(table, line string) Fault {
	f := Fault{Damage, table, withoutRow(line)}
	for _, s := range signs {
		if strings.HasPrefix(f.What, s.start) {
			f.Kind = s.kind
			break
		}
	}
	return f
}

// withoutRow leaves out which row of a table a line is about.
func withoutRow(line string) string {
	const end = "rowid not at end-of-record for row "
	if rest, ok := strings.CutPrefix(line, end); ok {
		_, index, _ := strings.Cut(rest, " of index ")
		return "rowid not at end-of-record of index " + index
	}
	rest, ok := strings.CutPrefix(line, "row ")
	if what := strings.TrimLeft(rest, "0123456789"); ok && what != rest {
		return "row" + what
	}
	return line
}

// signs are how the lines begin that SQLite's check says of what is not damage.
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
}

// words are SQLite's own.
func words(err error) string {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

// names says that SQLite's words name what it lacks.
func names(words string) bool {
	return slices.ContainsFunc(lackings, func(s string) bool { return strings.Contains(words, s) })
}

var lackings = []string{
	"no such collation sequence: ", "no such function: ", "unknown function: ", "no such module: ", "no such tokenizer: ",
}
