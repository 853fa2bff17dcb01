package changelog

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Collapse replaces everything in the log after sequence after, the end of a transaction,
// by one barrier. It returns the last sequence that the barrier covers, or 0 if there is
// nothing to replace. The barrier has the smallest time of what it covers, so that a
// search for any later time reaches it.
//
// alone runs the commit, and keeps writers away meanwhile. The commit only writes the
// barrier's row and is short, since the long log is read before. Sweep then deletes the
// rows that the barrier covers.
func (l *Log) Collapse(after int64, reason string, alone func(commit func() error) error) (through int64, err error) {
	seen, err := l.Last()
	if err != nil || seen <= after {
		return 0, err
	}
	earliest, err := l.Earliest(after, seen)
	if err != nil {
		return 0, err
	}
	err = alone(func() error {
		through, err = l.collapse(after, seen, earliest, reason)
		return err
	})
	return through, err
}

// collapse is Collapse given the smallest time up to sequence seen.
func (l *Log) collapse(after, seen, earliest int64, reason string) (through int64, err error) {
	err = l.commit(func() error {
		last, err := l.Last()
		if err != nil {
			return err
		}
		rest, err := l.Earliest(seen, last)
		if err != nil {
			return err
		}
		through, earliest = last, min(earliest, rest)
		count := last - after
		data := change.AppendHeader(nil, nil)
		reason := fmt.Sprintf("%s; the changes up to %d are in the snapshot that follows, and not in the log", reason, last)
		if count == 1 {
			data = change.AppendBarrier(data, reason)
		} else {
			data = change.AppendBarrierRange(data, count, reason)
		}
		err = bindRun(l.c, "UPDATE main._driftdb_log SET count = ?2, time = ?3, data = ?4 WHERE sequence = ?1", func(st *sqlite.Stmt) {
			st.BindInt64(1, after+1)
			st.BindInt64(2, count)
			st.BindInt64(3, earliest)
			st.BindBlob(4, data)
		})
		if err == nil && l.c.Changes() != 1 {
			err = fmt.Errorf("the log has no transaction that begins at sequence %d", after+1)
		}
		return err
	})
	return through, err
}

// GiveUp collapses everything that the bucket does not have, and sweeps. alone runs each
// of its commits.
func (l *Log) GiveUp(reason string, alone func(commit func() error) error) (through int64, err error) {
	books, err := l.Books()
	if err != nil {
		return 0, err
	}
	through, err = l.Collapse(books.Acked, reason, alone)
	for more := err == nil && through > 0; more && err == nil; {
		err = alone(func() (err error) {
			more, err = l.Sweep(books.Acked+1, through)
			return err
		})
	}
	return through, err
}

// Sweep deletes rows that a barrier from first through last covers, a few at a time like
// Trim, and reports whether there are more.
func (l *Log) Sweep(first, last int64) (more bool, err error) {
	err = l.commit(func() error {
		err := bindRun(l.c, `DELETE FROM main._driftdb_log WHERE sequence IN (
			SELECT sequence FROM main._driftdb_log WHERE sequence > ?1 AND sequence <= ?2
				AND sequence < (SELECT max(sequence) FROM main._driftdb_log) ORDER BY sequence LIMIT ?3)`, func(st *sqlite.Stmt) {
			st.BindInt64(1, first)
			st.BindInt64(2, last)
			st.BindInt64(3, trimStep)
		})
		more = l.c.Changes() == trimStep
		return err
	})
	return more && err == nil, err
}
