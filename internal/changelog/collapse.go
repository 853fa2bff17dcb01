package changelog

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Collapse puts one barrier in the place of all that the log has behind
// sequence after, the end of a transaction, and returns the last sequence that
// it stands for; 0 if there is nothing. Its time is the smallest of those that it
// stands for: whoever looks for a later one must come upon it.
//
// The commit is run by alone, which keeps writers away. It writes the barrier's row
// and takes no time: the log, which is long, is read before. Sweep then deletes the
// rows that lie under the barrier.
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

// collapse is Collapse for who knows the smallest time up to sequence seen.
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

// GiveUp collapses all that no bucket has, and sweeps. alone runs each of its commits.
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

// Sweep deletes rows that lie under a barrier from first through last, a few at
// a time like Trim, and reports whether there are more.
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
