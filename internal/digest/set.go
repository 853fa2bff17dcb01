package digest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/ddl"
)

// Set holds the known digests of a database's tables. Nothing is known about a table
// that it does not name. The set of an empty database is empty, and gains every table
// that is created.
type Set map[string]Sum

// Digestible reports whether a table of this name has a digest. SQLite's own tables
// have none, since a restored database need not have the same rows there. DriftDB's
// have none, since they are not restored. Nor do tables whose names JSON cannot hold.
func Digestible(table string) bool {
	t := ddl.Fold(table)
	return !strings.HasPrefix(t, "sqlite_") && !strings.HasPrefix(t, "_driftdb_") && utf8.ValidString(t)
}

// Apply brings the set forward over a change. It forgets tables that the entry may
// have changed in a way that it does not describe.
func (s Set) Apply(e *change.Entry) {
	switch e.Op {
	case change.Insert, change.Update, change.Delete:
		s.row(e, false)
	case change.Schema:
		s.schema(e.SQL)
	default: // a barrier
		clear(s)
	}
}

// ErrIrreversible means that a change cannot be reverted.
var ErrIrreversible = errors.New("digests cannot be undone across it")

// Revert takes the set back to before a change. Only changes of rows hold enough
// information for that. Others return ErrIrreversible, and leave the set unchanged.
func (s Set) Revert(e *change.Entry) error {
	switch e.Op {
	case change.Insert, change.Update, change.Delete:
		s.row(e, true)
		return nil
	}
	return fmt.Errorf("%s: %w", e.Op, ErrIrreversible)
}

func (s Set) row(e *change.Entry, revert bool) {
	sum, known := s[e.Table]
	if !known {
		return
	}
	var scratch [256]byte
	d, t := encoder{scratch[:0]}, tallyOf(sum)
	d.entry(e, revert, t.hash)
	s[e.Table] = t.sum()
}

// Report holds the digests of tables at some point of a history, as a batch carries
// them: nil for a table whose digest is no longer known. Tables that it does not name
// are unchanged since the last report.
type Report map[string]*Sum

// Since returns the differences between a set and an earlier one.
func (s Set) Since(earlier Set) Report {
	r := Report{}
	for table, sum := range s {
		if was, known := earlier[table]; !known || was != sum {
			r[table] = &sum
		}
	}
	for table := range earlier {
		if _, known := s[table]; !known {
			r[table] = nil
		}
	}
	return r
}

// MismatchError means that a table does not hold the rows that it should.
type MismatchError struct {
	Table     string
	Want, Got Sum
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("table %q does not hold the rows that it should: its digest is %s, not %s", e.Table, e.Got, e.Want)
}

// Take updates the set from a report about the same point of the same history. A
// *MismatchError names the first table for which both have a digest and they differ.
func (s Set) Take(r Report) error {
	for _, table := range slices.Sorted(maps.Keys(r)) {
		said := r[table]
		if said == nil {
			delete(s, table)
			continue
		}
		if known, ok := s[table]; ok && known != *said {
			return &MismatchError{Table: table, Want: *said, Got: known}
		}
		s[table] = *said
	}
	return nil
}

// Compare compares the set with the digests of all tables of a database, from a scan.
// A *MismatchError names the first table that differs. A missing table is another
// error.
func (s Set) Compare(all Set) error {
	for _, table := range slices.Sorted(maps.Keys(s)) {
		got, there := all[table]
		if !there {
			return fmt.Errorf("table %q does not exist", table)
		}
		if got != s[table] {
			return &MismatchError{Table: table, Want: s[table], Got: got}
		}
	}
	return nil
}
