// Package check reads a database once over and tells all that is known of it: the
// digests of its tables, its rows, and what is wrong with it.
//
// A fault is told, never judged: a source may well have one, and its backup has to
// have the same. Whoever calls decides what a fault means.
package check

import (
	"context"
	"time"

	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/digest/scan"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// MaxFaults is how many faults a report names. It counts the others.
const MaxFaults = 100

// Options say how much is checked.
type Options struct {
	// Budget bounds the time of SQLite's check, for a file that is too large to be
	// checked as a whole: it begins with the table behind After, goes on in the order of
	// names, and starts again behind the last one. At least one table is checked. 0
	// checks all tables, and what lies between them. It does not bound the digests.
	Budget time.Duration
	After  string

	// Open opens another connection to the same state of the file, which the caller
	// knows nobody changes. nil: there is only the one.
	Open func() (*sqlite.Conn, error)
}

// Report is what there is to know of a database. Two files with the same contents
// give the same report, as far as neither is damaged.
type Report struct {
	Digests digest.Set // of the tables that have one
	Rows    int64      // in the tables that can be read, shadow tables included

	// Violations is how many rows refer to a row that is not there. A table whose
	// foreign keys do not fit the table that they refer to counts as one.
	Violations int64

	Faults []Fault // in the order of Compare, no two alike
	More   int     // how many others there are

	// Checked are the tables that SQLite's check has read, and Through is the last one
	// of them: where the next check with a Budget goes on. Whole says that it has read
	// all.
	Checked []string
	Through string
	Whole   bool
}

// Run reads the database of c, whose caller has opened a read transaction or is sure
// that nobody writes meanwhile. It changes nothing. Its error is that of a read that
// failed for another reason than what is in the file, or ctx's.
//
// What is fixed: the names and meaning of Run, Options, Report and Fault. How the
// reading is done is nobody's business but this package's.
func Run(ctx context.Context, c *sqlite.Conn, o Options) (r Report, err error) {
	stop := c.Watch(ctx)
	defer stop()
	run := &run{ctx: ctx, c: c, found: map[Fault]int{}}
	if r.Whole, err = run.structure(o, &r); err != nil {
		return r, run.fail(err)
	}
	if err := run.modules(); err != nil {
		return r, run.fail(err)
	}
	sums, unread, err := scan.Readable(ctx, c)
	if err != nil {
		return r, run.fail(err)
	}
	r.Digests = sums
	for table, why := range unread {
		run.add(Fault{Kind: Unreadable, Table: table, What: run.lacks(table, why)})
	}
	if err := run.count(&r, unread); err != nil {
		return r, run.fail(err)
	}
	r.Faults, r.More = run.list()
	return r, nil
}
