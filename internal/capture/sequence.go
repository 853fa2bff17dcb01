package capture

import (
	"errors"
	"maps"
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
	at     schemaMark       // where we looked for the table last
	values map[string]int64 // as this connection last saw them
	before map[string]int64 // those that it had not seen, as they were before this transaction wrote anything
	edited bool             // by a statement of the user's, in this transaction
}

var errSequence = errors.New("sqlite_sequence must have one row for a table, with a text and an integer: anything else cannot be logged")

// findSequences prepares the statement if there is a table to read. The first
// AUTOINCREMENT table makes it; a rollback of that, or a VACUUM after the last
// such table was dropped, takes it away again.
func (r *recorder) findSequences() bool {
	s := &r.sequences
	now := r.schemaNow()
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
		s.values = nil
		return false
	}
	s.read = st
	if s.values == nil {
		s.values = map[string]int64{}
	}
	return true
}

// logSequences appends the counters that moved.
func (r *recorder) logSequences() {
	r.checkSequences()
	var missing map[string]bool
	if len(r.changed) > 0 {
		missing = maps.Clone(r.changed)
	}
	r.eachMoved(func(name string, value int64) {
		delete(missing, name)
		r.sequences.values[name] = value
		r.changed[name] = true // for a COMMIT that is tried again after a ROLLBACK TO
		if !r.over {
			r.buf = change.AppendSequence(r.buf, name, value)
			r.count++
		}
	})
	if r.sequences.read == nil || r.over {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		delete(r.sequences.values, name)
		r.buf = change.AppendSequenceEnd(r.buf, name)
		r.count++
	}
}

// eachMoved yields the counters that are not known to be what the log says. One
// that this connection sees for the first time is among them, unless it is all
// that there would be to log and has not moved in this transaction: a
// CREATE TABLE IF NOT EXISTS that finds its table is nothing to log.
func (r *recorder) eachMoved(fn func(name string, value int64)) {
	s := &r.sequences
	r.eachSequence(func(name []byte, value int64) {
		old, known := s.values[string(name)]
		if !known && r.count == 0 {
			old, known = s.before[string(name)]
		}
		if !known || old != value || r.changed[string(name)] {
			fn(string(name), value)
		}
	})
}

func (r *recorder) eachSequence(fn func(name []byte, value int64)) {
	if r.findSequences() {
		r.mustRun(r.sequences.read, func(st *sqlite.Stmt) { fn(st.View(0), st.Int64(1)) })
	}
}

// sequencesBefore remembers counters that this connection has not seen yet. The
// transaction has just taken the write lock and has written nothing: the log
// says what they are, or whoever moved them last is about to.
func (r *recorder) sequencesBefore() {
	s := &r.sequences
	s.before = nil
	r.eachSequence(func(name []byte, value int64) {
		if _, known := s.values[string(name)]; known {
			return
		}
		if s.before == nil {
			s.before = map[string]int64{}
		}
		s.before[string(name)] = value
	})
}

// checkSequences fails the transaction if the user has left sqlite_sequence in
// a state that its entries, which are by name, do not describe.
func (r *recorder) checkSequences() {
	edited := r.sequences.edited
	r.sequences.edited = false
	if !edited || !r.findSequences() { // a ROLLBACK TO may have taken edit and table away
		return
	}
	if err := r.c.Each("SELECT 1 FROM main.sqlite_sequence GROUP BY name HAVING count(*) > 1 OR typeof(name) <> 'text' OR typeof(seq) <> 'integer'", func(*sqlite.Stmt) error {
		return errSequence
	}); err != nil && r.fail == nil {
		r.fail = err
	}
}

// sequenceRow logs what a statement of the user's did to sqlite_sequence.
func (r *recorder) sequenceRow(op int32) {
	r.sequences.edited = true
	tls := r.c.TLS
	text := func(v uintptr) string {
		return string(sqlite.CBytes(lib.Xsqlite3_value_text(tls, v), int(lib.Xsqlite3_value_bytes(tls, v))))
	}
	var gone string
	if op != lib.SQLITE_INSERT {
		gone = text(r.oldValue(0))
		delete(r.sequences.values, gone)
	}
	if op != lib.SQLITE_DELETE {
		name := text(r.newValue(0))
		if name != gone && op == lib.SQLITE_UPDATE {
			r.buf = change.AppendSequenceEnd(r.buf, gone)
			r.count++
		}
		r.buf = change.AppendSequence(r.buf, name, lib.Xsqlite3_value_int64(tls, r.newValue(1)))
	} else {
		r.buf = change.AppendSequenceEnd(r.buf, gone)
	}
	r.count++
}
