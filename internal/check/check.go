// Package check reads a whole database once, and reports the digests of its tables, the
// number of its rows, and its faults.
//
// Faults are reported, not judged: a source may well have faults, and its backup must
// then have the same ones. The caller decides what a fault means.
package check

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/digest/scan"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// MaxFaults is how many faults a list for people or for a manifest names. The others are
// only counted.
const MaxFaults = 100

// Options control how much is checked.
type Options struct {
	// Budget bounds the time of SQLite's checks, for a file that is too large to be
	// checked as a whole. The check begins with the table after After, continues in the
	// order of names, and wraps around. At least one table is checked. 0 checks all
	// tables, and the file's structure between them. Budget does not bound the digests.
	Budget time.Duration
	After  string

	// Open opens another connection to the same state of the file, which the caller must
	// keep unchanged. Rows are then read concurrently with SQLite's checks. nil: only one
	// connection is used.
	//
	// The other connection reads each page once, so a small page cache is enough. SQLite's
	// checks look up each row in each index, and need the larger cache.
	Open func() (*sqlite.Conn, error)

	// Progress is called on Run's goroutine now and then while rows are read, with the
	// number of rows read and the total. It may be nil.
	Progress func(done, total int64)
}

// Report is the result of a check. Undamaged files with the same contents give the same
// report.
type Report struct {
	Digests digest.Set // of the tables that have one
	Rows    int64      // in the tables that can be read, shadow tables included

	// Violations is how many rows of the tables in Checked refer to a missing row. A table
	// whose foreign keys do not match the table that they refer to counts as one.
	Violations int64

	Faults []Fault     // in the order of Compare, no two alike
	Unread scan.Unread // the tables that cannot be read; each has a fault

	// Checked are the tables that SQLite's checks have read. Through is the last of them
	// if some tables are left: the next check with a Budget continues after it. Whole
	// means that everything was checked, including the structure between tables.
	Checked []string
	Through string
	Whole   bool

	tables []string // all of them, virtual ones and SQLite's own included
}

// Of returns the faults of one kind.
func (r Report) Of(k Kind) []Fault {
	return slices.DeleteFunc(slices.Clone(r.Faults), func(f Fault) bool { return f.Kind != k })
}

// Onto returns the known faults of each table, in the form of ByTable, given those known
// before the check, which may not have reached all tables.
func (r Report) Onto(before map[string][]string) map[string][]string {
	m := ByTable(r.Faults)
	for _, table := range r.tables {
		if slices.Contains(r.Checked, table) {
			continue
		}
		for _, what := range before[table] {
			if !slices.Contains(m[table], what) {
				m[table] = append(m[table], what)
			}
		}
	}
	return m
}

// Run reads the database of c. The caller must have opened a read transaction, or ensure
// that no other connection writes meanwhile. Run changes nothing. It returns an error if
// a read fails for a reason other than the file's contents, if ctx ends, or if the file's
// schema cannot be read. A table that cannot be read to its end has a fault, and neither
// a digest nor rows.
func Run(ctx context.Context, c *sqlite.Conn, o Options) (r Report, err error) {
	stop := c.Watch(ctx)
	defer stop()
	run := &run{ctx: ctx, c: c, found: map[Fault]bool{}}
	if err := run.all(o, &r); err != nil {
		return r, run.fail(err)
	}
	r.Faults = slices.SortedFunc(maps.Keys(run.found), Compare)
	return r, nil
}

func (r *run) all(o Options, rep *Report) error {
	if o.Open != nil {
		return r.beside(o, rep)
	}
	if err := r.pages(o, rep); err != nil {
		return err
	}
	return r.rows(o, rep)
}
