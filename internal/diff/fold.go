// Package diff finds the net differences between two states of a database: from the log
// between them, or by comparing them.
package diff

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/ddl"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrUnclear means that the log alone does not say what the differences are.
var ErrUnclear = errors.New("the log alone does not show the differences")

// Fold collapses the changes between two points to one change of each row.
//
// The rows are in a temporary database, one row of its own for each that was touched, so
// memory does not grow with the changes. Its invariant: live rows have an identity of
// their own by now, so the next change finds its row by table and identity; a row that was
// not there at the first point and is not there by now is forgotten.
type Fold struct {
	c      *sqlite.Conn
	tables map[string]*table // that exist by now, by folded name
	count  int64             // of all tables there have been

	counters map[string]*history.Change // of AUTOINCREMENT, by the table's folded name
	schema   []statement
}

// foldCacheKiB is the page cache of the temporary database.
const foldCacheKiB = 16 << 10

// NewFold starts a fold in the empty file at path, which nobody needs afterwards.
func NewFold(path string) (*Fold, error) {
	c, err := sqlite.Open(path, sqlite.Options{Synchronous: sqlite.SyncOff, KeepJournal: true, CacheKiB: foldCacheKiB})
	if err != nil {
		return nil, err
	}
	err = c.Exec(`PRAGMA journal_mode=OFF; BEGIN;
		CREATE TABLE row(id INTEGER PRIMARY KEY, tbl INT, origin BLOB, key BLOB, now BLOB, cells BLOB, sequence INT, tx INT, time INT);
		CREATE INDEX live ON row(tbl, now) WHERE now IS NOT NULL`)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &Fold{c: c, tables: map[string]*table{}, counters: map[string]*history.Change{}}, nil
}

// Close ends the fold.
func (f *Fold) Close() error { return f.c.Close() }

// Add takes up the next change. It returns ErrUnclear if the log cannot describe it, or if
// what it did to the rows cannot be told from it.
func (f *Fold) Add(c history.Change) error {
	switch e := c.Entry; {
	case e.Op == change.Barrier:
		return fmt.Errorf("%w: %s", ErrUnclear, e.Reason)
	case e.Op == change.Schema:
		return f.define(c)
	case e.Table == change.SequenceTable:
		f.counters[ddl.Fold(string(e.Key[0].Value.Bytes))] = &c
		return nil
	}
	t := f.table(c.Entry.Table)
	t.learn(c.Entry)
	if err := f.row(t, c); err != nil {
		return fmt.Errorf("change %d, %s in table %s: %w", c.Sequence, c.Entry.Op, c.Entry.Table, err)
	}
	return nil
}

// table returns the table that has this name now.
func (f *Fold) table(name string) *table {
	t := f.tables[ddl.Fold(name)]
	if t == nil {
		f.count++
		t = newTable(f.count, name)
		f.tables[ddl.Fold(name)] = t
	}
	t.name = name
	return t
}

// row takes up a change of a row.
func (f *Fold) row(t *table, c history.Change) error {
	e := c.Entry
	was, is := t.identities(e)
	r := &row{}
	if e.Op == change.Insert {
		r.now = was
		r.update(t, e)
	} else {
		var err error
		if r, err = f.live(t, was); err != nil {
			return err
		}
		if r == nil {
			r = &row{origin: was, key: keyOf(e)}
		}
		if e.Op == change.Delete && r.origin == nil {
			return f.forget(r)
		}
		if r.now = is; e.Op == change.Update {
			r.update(t, e)
		} else {
			r.delete(t, e)
		}
	}
	r.place = place{c.Sequence, c.Tx, c.Time}
	return f.store(t, r)
}

// keyOf returns the primary key that e's row had before.
func keyOf(e *change.Entry) (key []byte) {
	for i := range e.Key {
		key = change.AppendValue(key, e.Key[i].Value)
	}
	return key
}

// live returns the row that has this identity by now, or nil if it was not touched yet.
func (f *Fold) live(t *table, identity []byte) (found *row, err error) {
	st, err := f.c.Cached("SELECT " + rowColumns + " FROM row r WHERE tbl = ?1 AND now = ?2")
	if err != nil {
		return nil, err
	}
	defer st.Release()
	st.BindInt64(1, t.id)
	st.BindBlob(2, identity)
	err = st.Each(func(st *sqlite.Stmt) (err error) { found, err = scanRow(st, 0); return err })
	return found, err
}

// rowColumns are what scanRow reads.
const rowColumns = "r.id, r.origin, r.key, r.now, r.cells, r.sequence, r.tx, r.time"

const rowWidth = 8

func scanRow(st *sqlite.Stmt, at int) (*row, error) {
	r := &row{
		id: st.Int64(at), origin: optional(st, at+1), key: st.Blob(at + 2), now: optional(st, at+3),
		place: place{st.Int64(at + 5), st.Int64(at + 6), st.Int64(at + 7)},
	}
	var err error
	r.cells, err = decodeCells(st.Blob(at + 4))
	return r, err
}

func optional(st *sqlite.Stmt, at int) []byte {
	if st.IsNull(at) {
		return nil
	}
	return st.Blob(at)
}

func (f *Fold) store(t *table, r *row) error {
	query := "INSERT INTO row(tbl, origin, key, now, cells, sequence, tx, time, id) VALUES(?, ?, ?, ?, ?, ?, ?, ?, NULL)"
	if r.id != 0 {
		query = "UPDATE row SET tbl = ?, origin = ?, key = ?, now = ?, cells = ?, sequence = ?, tx = ?, time = ? WHERE id = ?"
	}
	return f.run(query, func(st *sqlite.Stmt) {
		st.BindInt64(1, t.id)
		bindOptional(st, 2, r.origin)
		st.BindBlob(3, r.key)
		bindOptional(st, 4, r.now)
		st.BindBlob(5, encodeCells(r.cells))
		st.BindInt64(6, r.sequence)
		st.BindInt64(7, r.tx)
		st.BindInt64(8, r.time)
		if r.id != 0 {
			st.BindInt64(9, r.id)
		}
	})
}

func bindOptional(st *sqlite.Stmt, at int, b []byte) {
	if b == nil {
		st.BindNull(at)
	} else {
		st.BindBlob(at, b)
	}
}

func (f *Fold) forget(r *row) error {
	return f.run("DELETE FROM row WHERE id = ?", func(st *sqlite.Stmt) { st.BindInt64(1, r.id) })
}

func (f *Fold) run(query string, bind func(*sqlite.Stmt)) error {
	st, err := f.c.Cached(query)
	if err != nil {
		return err
	}
	defer st.Release()
	bind(st)
	return st.Run()
}

// touched reports whether there are rows of t.
func (f *Fold) touched(t *table) (bool, error) {
	n, err := f.c.Int(fmt.Sprintf("SELECT EXISTS (SELECT 1 FROM row WHERE tbl = %d)", t.id))
	return n != 0, err
}

// Watch makes the fold fail when ctx ends, until stop is called.
func (f *Fold) Watch(ctx context.Context) (stop func()) { return f.c.Watch(ctx) }

var errStopped = errors.New("no more changes are wanted")
