package digest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/driftdb/driftdb-go/internal/change"
)

// Set is what is known of a database: the digest of each table. Of a table
// that it does not name, nothing is known. The set of an empty database is
// empty, and names every table that is made.
type Set map[string]Sum

// Digestible reports whether a table of this name has a digest. SQLite's own
// tables have none, since a restored database need not have the same rows
// there; nor have DriftDB's, which are not part of what is restored, nor those
// whose names JSON cannot hold.
func Digestible(table string) bool {
	t := fold(table)
	return !strings.HasPrefix(t, "sqlite_") && !strings.HasPrefix(t, "_driftdb_") && utf8.ValidString(t)
}

// Apply brings the set forward over a change. What the entry may have changed
// in a way that it does not say is forgotten.
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

// ErrIrreversible says that a change cannot be walked back over.
var ErrIrreversible = errors.New("digests cannot be undone across it")

// Revert takes the set back over a change: from after it to before it. Only
// changes of rows say enough for that; others are ErrIrreversible, and leave
// the set as it is.
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

// Report is what somebody says of tables at some point of a history: of those
// that it names, the digest, or nil for a table of which nothing is known any
// more. Of others it says nothing new.
type Report map[string]*Sum

// Since reports what a set says otherwise than an earlier one did.
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

// MismatchError says that a table does not hold the rows that it should.
type MismatchError struct {
	Table     string
	Want, Got Sum
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("table %q does not hold the rows that it should: its digest is %s, not %s", e.Table, e.Got, e.Want)
}

// Take brings the set up to a report about the same point of the same history.
// A *MismatchError names the first table of which both know a digest, and not
// the same.
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

// Compare compares what is known with all tables of a database, as a scan has
// them. A *MismatchError names the first one that differs; one that is not
// there is another error.
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
