package capture

import (
	"slices"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// sequences tracks sqlite_sequence, the counters of AUTOINCREMENT tables. SQLite
// changes them without a row event, and INSERT OR IGNORE and OR FAIL change them
// differently from a replay of the rows. So a commit logs every counter that has
// moved or whose table was written. It also logs that a written table has no
// counter: a failed OR FAIL can leave rows without one.
type sequences struct {
	c       *sqlite.Conn
	own     *ownStatements
	read    *sqlite.Stmt
	at      sqlite.SchemaMark // the state of the schema when find last looked for the table
	rows    map[string]*counter
	pass    int64            // counts the reads of the table
	before  map[string]int64 // see noteBefore
	edited  bool             // a statement of the user's edited it in this transaction
	written map[string]bool  // AUTOINCREMENT tables with entries in this transaction
}

// counter is what a connection knows about the rows with one name.
type counter struct {
	name  string
	value int64 // as this connection last saw it
	known bool  // value is valid
	pass  int64 // the last read that found such a row
}

// oddSequence is the reason for a barrier.
const oddSequence = "sqlite_sequence was edited and has, or had, a row that is no counter of a table: the log knows one row for a name, with a text and an integer"

// find prepares the statement that reads sqlite_sequence and reports whether the
// table exists. SQLite makes it with the first AUTOINCREMENT table; a rollback of
// that, or a VACUUM after the last such table was dropped, removes it.
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

// writes records that an AUTOINCREMENT table has an entry.
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
		s.writes(c.name) // for a COMMIT that is retried after a ROLLBACK TO
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

// moved reports whether there are counters to log.
func (s *sequences) moved(b *buffer) (moved bool, err error) {
	err = s.eachMoved(b, func(*counter, int64) { moved = true })
	return moved, err
}

// eachMoved yields the counters that may differ from the log. That includes a
// counter that this connection sees for the first time, unless it has not moved in
// this transaction and there is nothing else to log: a CREATE TABLE IF NOT EXISTS
// that finds its table logs nothing.
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

// each yields the counters: for each name that is text, the first row, if its value is
// an integer. These are the only rows that SQLite changes. A file that another program made
// may hold other rows; they stay as they are.
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

// has reports whether the last read found a row for name.
func (s *sequences) has(name string) bool {
	c := s.rows[name]
	return c != nil && c.pass == s.pass
}

func (s *sequences) forget(name string) {
	if c := s.rows[name]; c != nil {
		c.known = false
	}
}

// noteBefore keeps the values of counters that this connection has not seen yet. The
// transaction has just taken the write lock and has written nothing, so the log holds
// these values, or the connection that moved them last is about to log them.
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

// checkEdit adds a barrier after an edit of sqlite_sequence that left it in a state
// that entries cannot describe, since they address rows by name.
func (s *sequences) checkEdit(b *buffer) error {
	edited := s.edited
	s.edited = false
	if !edited || !s.find() { // a ROLLBACK TO may have undone the edit and the table
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

// edit logs a change to sqlite_sequence by one of the user's statements.
func (s *sequences) edit(op int32, b *buffer) {
	s.edited = true
	c := s.c
	if op != lib.SQLITE_INSERT && lib.Xsqlite3_value_type(c.TLS, c.OldValue(0)) != lib.SQLITE_TEXT {
		b.barrier(oddSequence) // an entry cannot address the row that goes away
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
