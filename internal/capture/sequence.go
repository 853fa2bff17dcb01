package capture

import (
	"slices"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// sequences follows sqlite_sequence, the counters of AUTOINCREMENT tables.
// SQLite moves them without a row event, and INSERT OR IGNORE or OR FAIL moves
// them differently from what a replay of the rows would do. So a commit logs
// every counter that has moved or whose table was written, and that there is
// none: an OR FAIL that fails leaves rows behind without one.
type sequences struct {
	read   *sqlite.Stmt
	at     sqlite.SchemaMark // where we looked for the table last
	rows   map[string]*counter
	pass   int64            // counts the readings of the table
	before map[string]int64 // those that it had not seen, as they were before this transaction wrote anything
	edited bool             // by a statement of the user's, in this transaction
}

// counter is what a connection knows of the rows of a name.
type counter struct {
	name  string
	value int64 // as this connection last saw it …
	known bool  // … if it did
	pass  int64 // the last reading in which there was such a row
}

// oddSequence is the reason of a barrier.
const oddSequence = "sqlite_sequence was edited and has, or had, a row that is no counter of a table: the log knows one row for a name, with a text and an integer"

// findSequences prepares the statement if there is a table to read. The first
// AUTOINCREMENT table makes it; a rollback of that, or a VACUUM after the last
// such table was dropped, takes it away again.
func (r *recorder) findSequences() bool {
	s := &r.sequences
	now := r.c.SchemaMark()
	if now == s.at {
		return s.read != nil
	}
	s.at = now
	if s.read != nil {
		s.read.Finalize()
		s.read = nil
	}
	st, err := r.c.Prepare("SELECT name, seq FROM main.sqlite_sequence")
	if err != nil {
		s.rows = nil
		return false
	}
	s.read = st
	if s.rows == nil {
		s.rows = map[string]*counter{}
	}
	return true
}

// logSequences appends the counters that moved.
func (r *recorder) logSequences() {
	r.checkSequences()
	r.eachMoved(func(c *counter, value int64) {
		c.value, c.known = value, true
		r.changed[c.name] = true // for a COMMIT that is tried again after a ROLLBACK TO
		if !r.over {
			r.buf = change.AppendSequence(r.buf, c.name, value)
			r.count++
		}
	})
	if r.sequences.read == nil || r.over {
		return
	}
	var missing []string
	for name := range r.changed {
		if !r.sequences.has(name) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	for _, name := range missing {
		r.sequences.forget(name)
		r.buf = change.AppendSequenceEnd(r.buf, name)
		r.count++
	}
}

// eachMoved yields the counters that are not known to be what the log says. One
// that this connection sees for the first time is among them, unless it is all
// that there would be to log and has not moved in this transaction: a
// CREATE TABLE IF NOT EXISTS that finds its table is nothing to log.
func (r *recorder) eachMoved(fn func(c *counter, value int64)) {
	s := &r.sequences
	r.eachSequence(func(c *counter, value int64) {
		old, known := c.value, c.known
		if !known && r.count == 0 {
			old, known = s.before[c.name]
		}
		if !known || old != value || r.changed[c.name] {
			fn(c, value)
		}
	})
}

// eachSequence yields the counters: of the rows with a name, which is a text, the first
// one, if it has an integer. SQLite moves no others. A file may have been brought with
// more; those rows stay in it as they are.
func (r *recorder) eachSequence(fn func(c *counter, value int64)) {
	if !r.findSequences() {
		return
	}
	s := &r.sequences
	s.pass++
	r.mustRun(s.read, func(st *sqlite.Stmt) {
		if st.Type(0) != lib.SQLITE_TEXT {
			return
		}
		c := s.row(st.View(0))
		first := c.pass != s.pass
		c.pass = s.pass
		if first && st.Type(1) == lib.SQLITE_INTEGER {
			fn(c, st.Int64(1))
		}
	})
}

func (s *sequences) row(name []byte) *counter {
	c := s.rows[string(name)]
	if c == nil {
		c = &counter{name: string(name)}
		s.rows[c.name] = c
	}
	return c
}

// has says whether the last reading met name.
func (s *sequences) has(name string) bool {
	c := s.rows[name]
	return c != nil && c.pass == s.pass
}

func (s *sequences) forget(name string) {
	if c := s.rows[name]; c != nil {
		c.known = false
	}
}

// sequencesBefore remembers counters that this connection has not seen yet. The
// transaction has just taken the write lock and has written nothing: the log
// says what they are, or whoever moved them last is about to.
func (r *recorder) sequencesBefore() {
	s := &r.sequences
	s.before = nil
	r.eachSequence(func(c *counter, value int64) {
		if c.known {
			return
		}
		if s.before == nil {
			s.before = map[string]int64{}
		}
		s.before[c.name] = value
	})
}

// checkSequences puts a barrier behind an edit of sqlite_sequence that has left it in
// a state that its entries, which are by name, do not describe.
func (r *recorder) checkSequences() {
	edited := r.sequences.edited
	r.sequences.edited = false
	if !edited || !r.findSequences() { // a ROLLBACK TO may have taken edit and table away
		return
	}
	odd := false
	if err := r.c.Each("SELECT 1 FROM main.sqlite_sequence GROUP BY name HAVING count(*) > 1 OR typeof(name) <> 'text' OR typeof(seq) <> 'integer' LIMIT 1", func(*sqlite.Stmt) error {
		odd = true
		return nil
	}); err != nil && r.fail == nil {
		r.fail = err
	}
	if odd && r.barriers == 0 {
		r.barrier(oddSequence)
	}
}

// sequenceRow logs what a statement of the user's did to sqlite_sequence.
func (r *recorder) sequenceRow(op int32) {
	r.sequences.edited = true
	tls := r.c.TLS
	if op != lib.SQLITE_INSERT && lib.Xsqlite3_value_type(tls, r.c.OldValue(0)) != lib.SQLITE_TEXT {
		r.barrier(oddSequence) // the row that goes has no entry
		return
	}
	text := func(v uintptr) string {
		return string(sqlite.CBytes(lib.Xsqlite3_value_text(tls, v), int(lib.Xsqlite3_value_bytes(tls, v))))
	}
	var gone string
	if op != lib.SQLITE_INSERT {
		gone = text(r.c.OldValue(0))
		r.sequences.forget(gone)
	}
	if op != lib.SQLITE_DELETE {
		name := text(r.c.NewValue(0))
		if name != gone && op == lib.SQLITE_UPDATE {
			r.buf = change.AppendSequenceEnd(r.buf, gone)
			r.count++
		}
		r.buf = change.AppendSequence(r.buf, name, lib.Xsqlite3_value_int64(tls, r.c.NewValue(1)))
	} else {
		r.buf = change.AppendSequenceEnd(r.buf, gone)
	}
	r.count++
}
