package capture

import (
	"math/bits"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// logTable writes a transaction's row of _driftdb_log.
type logTable struct {
	c                           *sqlite.Conn
	own                         *ownStatements
	last, insert, remove, large *sqlite.Stmt
	pages                       int64 // the page count noted in _driftdb_meta, or less if it is not known

	// The row of this transaction. A COMMIT that found the file busy may be retried; its
	// row keeps the numbers of the first try.
	row   int64 // its sequence number once it is written, or 0
	stamp int64 // its time, by the clock
	prior int64 // the time of the transaction before it
}

func (l *logTable) prepare() error {
	return l.own.prepare(
		ownStatement{&l.last, "SELECT sequence + count, time, schema FROM main._driftdb_log ORDER BY sequence DESC LIMIT 1"},
		ownStatement{&l.insert, "INSERT OR REPLACE INTO main._driftdb_log(sequence, count, time, schema, data) VALUES(?1, ?2, ?3, ?4, ?5)"},
		ownStatement{&l.remove, "DELETE FROM main._driftdb_log WHERE sequence = ?1"},
		ownStatement{&l.large, "INSERT INTO main._driftdb_meta(key, value) VALUES('largest', ?1) ON CONFLICT(key) DO UPDATE SET value = excluded.value WHERE value < excluded.value"},
	)
}

// logEnd is where the log ends.
type logEnd struct {
	next   int64 // the number of the next entry
	time   int64 // of the last row
	schema int64 // cookie of the last row; -1 if the log is empty
}

func (l *logTable) end() (end logEnd, err error) {
	end.schema = -1
	_, err = l.own.run(l.last, func(st *sqlite.Stmt) {
		end = logEnd{st.Int64(0), st.Int64(1), st.Int64(2)}
	})
	return end, err
}

// written reports whether the row is written already: the commit is being retried.
func (l *logTable) written() bool { return l.row != 0 }

// takeBack removes the row, if it was written.
func (l *logTable) takeBack() error {
	if !l.written() {
		return nil
	}
	l.remove.BindInt64(1, l.row)
	_, err := l.own.run(l.remove, nil)
	return err
}

// write writes the row after end. It stores the time of the clock as it is, so that one
// wrong time does not affect later transactions.
func (l *logTable) write(end logEnd, b *buffer, header []byte) error {
	now := time.Now().UnixMilli()
	if l.written() {
		end.next, now, end.time = l.row, l.stamp, l.prior // the log's last row may be this one
	}
	st := l.insert
	st.BindInt64(1, end.next)
	st.BindInt64(2, b.entries())
	st.BindInt64(3, now)
	st.BindInt64(4, l.c.SchemaMark().Cookie)
	b.bind(st, 5, header)
	_, err := l.own.run(st, nil)
	st.Clear()
	if err == nil {
		err = l.own.do(func() error { return b.fill(l.c, end.next, header) })
	}
	l.row, l.stamp, l.prior = end.next, now, end.time
	return err
}

// measure records the largest page count that main has had, rounded up to a power of two
// and at least 1024, so that it seldom needs writing. auto_vacuum truncates the file later
// in the commit; a replay of the transaction needs about as many pages as are counted here.
func (l *logTable) measure() error {
	now := l.c.PageCount()
	if now <= l.pages {
		return nil
	}
	l.pages = 1 << max(10, bits.Len64(uint64(now-1)))
	l.large.BindInt64(1, l.pages)
	_, err := l.own.run(l.large, nil)
	return err
}

// committed reports the row, which has b's entries, to the shared state.
func (l *logTable) committed(s *Shared, b *buffer) {
	if l.written() && !b.empty() {
		s.timed(l.prior, l.stamp)
		s.committed(l.row+b.entries()-1, b.size(), b.why())
	}
}

func (l *logTable) rolledBack() { l.pages = 0 } // the recorded page count may be gone, too

func (l *logTable) reset() { l.row, l.stamp, l.prior = 0, 0, 0 }
