package changelog

import (
	"cmp"
	"errors"
	"math"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// EachBack calls fn for each transaction that begins at sequence to or before, down to the
// one that ends with from or later, newest first. The transaction is valid until fn
// returns. The caller must have begun a read transaction.
func (l *Log) EachBack(to, from int64, fn func(Transaction) error) error {
	st, err := l.c.Cached("SELECT sequence, count, time, data FROM main._driftdb_log WHERE sequence <= ?1 ORDER BY sequence DESC")
	if err != nil {
		return err
	}
	defer st.Release()
	st.BindInt64(1, to)
	err = st.Each(func(st *sqlite.Stmt) error {
		t := Transaction{First: st.Int64(0), Count: st.Int64(1), Time: st.Int64(2), data: st.View(3)}
		if t.Last() < from {
			return Stop
		}
		return fn(t)
	})
	if errors.Is(err, Stop) {
		return nil
	}
	return err
}

// LastAt returns the sequence with which the last transaction ends that is not later than
// at, by the clock of the node that committed it; 0 if the log has none. Unless to is 0,
// only transactions that begin at sequence to or before count.
func (l *Log) LastAt(at, to int64) (sequence int64, err error) {
	oldest, err := l.Oldest()
	if err != nil {
		return 0, err
	}
	st, err := l.c.Cached("SELECT sequence + count - 1 FROM main._driftdb_log WHERE time <= ?1 AND sequence <= ?2 AND sequence >= ?3 ORDER BY sequence DESC LIMIT 1")
	if err != nil {
		return 0, err
	}
	defer st.Release()
	st.BindInt64(1, at)
	st.BindInt64(2, cmp.Or(to, math.MaxInt64))
	st.BindInt64(3, oldest)
	err = st.Each(func(st *sqlite.Stmt) error { sequence = st.Int64(0); return nil })
	return sequence, err
}
