// Package check reads a database once over and tells all that is known of it: the
// digests of its tables, its rows, and what is wrong with it.
//
// A fault is told, never judged: a source may well have one, and its backup has to
// have the same. Whoever calls decides what a fault means.
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

// MaxFaults is how many faults a list for people or for a manifest names. It counts the
// others.
const MaxFaults = 100

// Options say how much is checked.
type Options struct {
	// Budget bounds the time of SQLite's checks, for a file that is too large to be
	// checked as a whole: it begins with the table behind After, goes on in the order of
	// names, and starts again behind the last one. At least one table is checked. 0
	// checks all tables, and what lies between them. It does not bound the digests.
	Budget time.Duration
	After  string

	// Open opens another connection to the same state of the file, which the caller
	// knows nobody changes: rows are then read beside SQLite's checks. nil: there is
	// only the one.
	//
	// It reads each page once, and a small page cache is enough for that. SQLite's
	// checks look up each row in each index: the larger cache is theirs.
	Open func() (*sqlite.Conn, error)

	// Progress is called on Run's goroutine now and then while rows are read: how many
	// have been, and how many there are. nil: nobody wants to know.
	Progress func(done, total int64)
}

// Report is what there is to know of a database. Two files with the same contents
// give the same report, as far as neither is damaged.
type Report struct {
	Digests digest.Set // of the tables that have one
	Rows    int64      // in the tables that can be read, shadow tables included

	// Violations is how many rows of the tables in Checked refer to a row that is not
	// there. A table whose foreign keys do not fit the table that they refer to counts as
	// one.
	Violations int64

	Faults []Fault     // in the order of Compare, no two alike
	Unread scan.Unread // the tables that cannot be read; each has a fault

	// Checked are the tables that SQLite's checks have read. Through is the last one of
	// them if there are others: where the next check with a Budget goes on. Whole says
	// that all was read, and what lies between tables.
	Checked []string
	Through string
	Whole   bool

	tables []string // all of them, virtual ones and SQLite's own included
}

// Of are the faults of one kind.
func (r Report) Of(k Kind) []Fault {
	return slices.DeleteFunc(slices.Clone(r.Faults), func(f Fault) bool { return f.Kind != k })
}

// Onto is what is known to be wrong with each table, as ByTable has it, after a check
// before which that was known: the check may not have come to all of them.
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

// Run reads the database of c, whose caller has opened a read transaction or is sure
// that nobody writes meanwhile. It changes nothing. Its error is that of a read that
// failed for another reason than what is in the file, or ctx's, or says that the file's
// schema cannot be read. A table that cannot be read to its end has a fault, and neither
// a digest nor rows.
//
// What is fixed: the names and meaning of Run, Options, Report and Fault. How the
// reading is done is nobody's business but this package's.
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
