package changelog

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Collapse puts one barrier in the place of all that the log has behind
// sequence after, the end of a transaction, and returns the last sequence that
// it stands for; 0 if there is nothing. Only the barrier's row is written, so
// this takes no time; Sweep then deletes the rows that lie under it.
func (l *Log) Collapse(after int64, reason string) (through int64, err error) {
	err = l.commit(func() error {
		last, err := l.Last()
		if err != nil || last <= after {
			return err
		}
		through = last
		count := last - after
		data := change.AppendHeader(nil, nil)
		reason := fmt.Sprintf("%s; the changes up to %d are in the snapshot that follows, and not in the log", reason, last)
		if count == 1 {
			data = change.AppendBarrier(data, reason)
		} else {
			data = change.AppendBarrierRange(data, count, reason)
		}
		err = bindRun(l.c, "UPDATE main._driftdb_log SET count = ?2, data = ?3 WHERE sequence = ?1", func(st *sqlite.Stmt) {
			st.BindInt64(1, after+1)
			st.BindInt64(2, count)
			st.BindBlob(3, data)
		})
		if err == nil && l.c.Changes() != 1 {
			err = fmt.Errorf("the log has no transaction that begins at sequence %d", after+1)
		}
		return err
	})
	return through, err
}

// Sweep deletes rows that lie under a barrier from first through last, a few at
// a time like Trim, and says whether there are more.
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
