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
	c       *sqlite.Conn
	own     *ownStatements
	read    *sqlite.Stmt
	at      sqlite.SchemaMark // where we looked for the table last
	rows    map[string]*counter
	pass    int64            // counts the readings of the table
	before  map[string]int64 // those that it had not seen, as they were before this transaction wrote anything
	edited  bool             // by a statement of the user's, in this transaction
	written map[string]bool  // AUTOINCREMENT tables with entries in this transaction
}

// counter is what a connection knows of the rows of a name.
type counter struct {
	name  string
	value int64 // as this connection last saw it
	known bool  // it did see it
	pass  int64 // the last reading in which there was such a row
}

// oddSequence is the reason of a barrier.
const oddSequence = "sqlite_sequence was edited and has, or had, a row that is no counter of a table: the log knows one row for a name, with a text and an integer"

// find prepares the statement if there is a table to read. The first
// AUTOINCREMENT table makes it; a rollback of that, or a VACUUM after the last
// such table was dropped, takes it away again.
func (s *sequences) find() bool {
	now := s.c.SchemaMark()
	if now == s.at {
		return s.read != nil
	}
	s.at = now
	s.close()
	st, err := s.c.Prepare("SELECT name, seq FROM main.sqlite_sequence")
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

func (s *sequences) close() {
	if s.read != nil {
		s.read.Finalize()
		s.read = nil
	}
}

func (s *sequences) reset() {
	s.edited, s.before = false, nil
	clear(s.written)
}

// writes notes that an AUTOINCREMENT table has an entry.
func (s *sequences) writes(table string) {
	if s.written == nil {
		s.written = map[string]bool{}
	}
	s.written[table] = true
}

// log appends the counters that moved.
func (s *sequences) log(b *buffer) error {
	if err := s.checkEdit(b); err != nil {
		return err
	}
	if err := s.eachMoved(b, func(c *counter, value int64) {
		c.value, c.known = value, true
		s.writes(c.name) // for a COMMIT that is tried again after a ROLLBACK TO
		if !b.givenUp() {
			b.add(change.AppendSequence(b.begin(), c.name, value))
		}
	}); err != nil {
		return err
	}
	if s.read == nil || b.givenUp() {
		return nil
	}
	var missing []string
	for name := range s.written {
		if !s.has(name) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	for _, name := range missing {
		s.forget(name)
		b.add(change.AppendSequenceEnd(b.begin(), name))
	}
	return nil
}

// moved says whether there is anything to log.
func (s *sequences) moved(b *buffer) (moved bool, err error) {
	err = s.eachMoved(b, func(*counter, int64) { moved = true })
	return moved, err
}

// eachMoved yields the counters that are not known to be what the log says. One
// that this connection sees for the first time is among them, unless it is all
// that there would be to log and has not moved in this transaction: a
// CREATE TABLE IF NOT EXISTS that finds its table is nothing to log.
func (s *sequences) eachMoved(b *buffer, fn func(c *counter, value int64)) error {
	return s.each(func(c *counter, value int64) {
		old, known := c.value, c.known
		if !known && b.empty() {
			old, known = s.before[c.name]
		}
		if !known || old != value || s.written[c.name] {
			fn(c, value)
		}
	})
}

// each yields the counters: of the rows with a name, which is a text, the first
// one, if it has an integer. SQLite moves no others. A file may have been brought with
// more; those rows stay in it as they are.
func (s *sequences) each(fn func(c *counter, value int64)) error {
	if !s.find() {
		return nil
	}
	s.pass++
	_, err := s.own.run(s.read, func(st *sqlite.Stmt) {
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
	return err
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

// noteBefore remembers counters that this connection has not seen yet. The
// transaction has just taken the write lock and has written nothing: the log
// says what they are, or whoever moved them last is about to.
func (s *sequences) noteBefore() error {
	s.before = nil
	return s.each(func(c *counter, value int64) {
		if c.known {
			return
		}
		if s.before == nil {
			s.before = map[string]int64{}
		}
		s.before[c.name] = value
	})
}

// checkEdit puts a barrier behind an edit of sqlite_sequence that has left it in
// a state that its entries, which are by name, do not describe.
func (s *sequences) checkEdit(b *buffer) error {
	edited := s.edited
	s.edited = false
	if !edited || !s.find() { // a ROLLBACK TO may have taken edit and table away
		return nil
	}
	odd := false
	if err := s.c.Each("SELECT 1 FROM main.sqlite_sequence GROUP BY name HAVING count(*) > 1 OR typeof(name) <> 'text' OR typeof(seq) <> 'integer' LIMIT 1", func(*sqlite.Stmt) error {
		odd = true
		return nil
	}); err != nil {
		return err
	}
	if odd && !b.barred() {
		b.barrier(oddSequence)
	}
	return nil
}

// edit logs what a statement of the user's did to sqlite_sequence.
func (s *sequences) edit(op int32, b *buffer) {
	s.edited = true
	c := s.c
	if op != lib.SQLITE_INSERT && lib.Xsqlite3_value_type(c.TLS, c.OldValue(0)) != lib.SQLITE_TEXT {
		b.barrier(oddSequence) // the row that goes has no entry
		return
	}
	var gone string
	if op != lib.SQLITE_INSERT {
		gone = valueText(c.TLS, c.OldValue(0))
		s.forget(gone)
	}
	if op == lib.SQLITE_DELETE {
		b.add(change.AppendSequenceEnd(b.begin(), gone))
		return
	}
	name := valueText(c.TLS, c.NewValue(0))
	if name != gone && op == lib.SQLITE_UPDATE {
		b.add(change.AppendSequenceEnd(b.begin(), gone))
	}
	b.add(change.AppendSequence(b.begin(), name, lib.Xsqlite3_value_int64(c.TLS, c.NewValue(1))))
}
