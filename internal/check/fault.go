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
	// Damage means that pages of the file contradict each other: rows may be lost.
	Damage Kind = "damage"
	// Index means that an index does not match its table. The rows are there, but a query
	// that uses the index may not find them.
	Index Kind = "index"
	// Constraint means that rows violate their table's definition: NOT NULL, CHECK, or a
	// type of a STRICT table.
	Constraint Kind = "constraint"
	// ForeignKey means that rows refer to a missing row, or that a foreign key does not
	// match the table that it refers to.
	ForeignKey Kind = "foreign key"
	// Virtual means that a virtual table (FTS, R-tree) finds its shadow tables broken.
	Virtual Kind = "virtual"
	// Unreadable means that this program lacks a collation, function, tokenizer or module
	// that the table or one of its indexes needs.
	Unreadable Kind = "unreadable"
)

// Fault is something that is wrong with a database. It names no rows, so it stays equal
// when other rows are added or deleted.
type Fault struct {
	Kind  Kind
	Table string // "": it belongs to none
	What  string // for people; SQLite's words, mostly
}

func (f Fault) String() string { return Words(f.Table, f.What) }

// ByTable returns the faults of each table that has any. "" stands for the file, and for
// the count of the faults beyond MaxFaults.
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

// damaged is the prefix of a Damage's text, by which Damaged recognizes it.
const damaged = "damaged: "

// Damaged reports whether one of ByTable's lists has damage in it.
func Damaged(whats []string) bool {
	return slices.ContainsFunc(whats, func(what string) bool { return strings.HasPrefix(what, damaged) })
}

// List returns ByTable's result as lines for people.
func List(byTable map[string][]string) (list []string) {
	for _, table := range slices.Sorted(maps.Keys(byTable)) {
		for _, what := range byTable[table] {
			list = append(list, Words(table, what))
		}
	}
	return list
}

// Words describes a table's fault.
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

// ofMessage parses a message of SQLite's check about a table: one line, or several under
// a heading.
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

// withoutRow removes the row number from a line.
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

// signs are the beginnings of lines by which SQLite's check reports faults other than
// damage.
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

// words returns SQLite's own message.
func words(err error) string {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

// names reports whether SQLite's message names what is missing.
func names(words string) bool {
	return slices.ContainsFunc(lackings, func(s string) bool { return strings.Contains(words, s) })
}

var lackings = []string{
	"no such collation sequence: ", "no such function: ", "unknown function: ", "no such module: ", "no such tokenizer: ",
}
