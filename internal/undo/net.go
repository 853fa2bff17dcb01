package undo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// net is what the range did to each row in the end, and what came of the row since. It is
// in a temporary file, which SQLite deletes, so that a million rows take no memory.
//
// A row is its identity: an update that moves a row ends it in one place and begins it in
// another. Whatever rows were exchanged or moved along, each place has a state before the
// range, and an undo puts that state there again.
type net struct {
	c      *sqlite.Conn
	tables []*table
	byName map[string]*table

	find, put, move *sqlite.Stmt
}

// table is a table with rows in the net.
type table struct {
	index    int
	name     string
	hasRowID bool
	key      []string // the names of the primary key's columns
	names    names
	columns  []string // in the order of the table; nil until they are needed
	later    bool     // some row of it was changed after the range
	some     bool     // the net has a row of it
}

// cacheKiB bounds the memory for the net's pages.
const cacheKiB = 8 << 10

func newNet() (_ *net, err error) {
	n := &net{byName: map[string]*table{}}
	if n.c, err = sqlite.Open("", sqlite.Options{KeepJournal: true, Synchronous: sqlite.SyncOff, CacheKiB: cacheKiB}); err != nil {
		return nil, fmt.Errorf("make a temporary file for the undo: %w", err)
	}
	err = n.c.Exec(`PRAGMA journal_mode=OFF;
		CREATE TABLE net(tbl INTEGER, id BLOB, row BLOB, PRIMARY KEY(tbl, id)) WITHOUT ROWID;
		CREATE TABLE move(tbl INTEGER, a BLOB, b BLOB);
		CREATE TABLE todo(step INTEGER, last INTEGER, tbl INTEGER, id BLOB, entry BLOB, PRIMARY KEY(step, last, tbl, id)) WITHOUT ROWID;
		BEGIN`)
	for _, s := range []struct {
		to    **sqlite.Stmt
		query string
	}{
		{&n.find, "SELECT row FROM net WHERE tbl = ?1 AND id = ?2"},
		{&n.put, "INSERT INTO net VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET row = excluded.row"},
		{&n.move, "INSERT INTO move VALUES(?1, ?2, ?3)"},
	} {
		if err == nil {
			*s.to, err = n.c.Prepare(s.query)
		}
	}
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *net) close() error {
	for _, st := range []*sqlite.Stmt{n.find, n.put, n.move} {
		if st != nil {
			st.Finalize()
		}
	}
	return n.c.Close()
}

// table returns the table of an entry.
func (n *net) table(e *change.Entry) *table {
	t := n.byName[e.Table]
	if t == nil {
		t = &table{index: len(n.tables), name: e.Table, hasRowID: e.HasRowID}
		for i := range e.Key {
			t.key = append(t.key, e.Key[i].Name)
		}
		n.tables, n.byName[e.Table] = append(n.tables, t), t
	}
	return t
}

// identity returns the identity of a row with this rowid or key.
func identity(t *table, rowid int64, key []change.Column) []byte {
	if t.hasRowID {
		return binary.AppendVarint(nil, rowid)
	}
	var b []byte
	for i := range key {
		b = change.AppendValue(b, key[i].Value)
	}
	return b
}

// address returns an entry that addresses the row with an identity.
func (t *table) address(id []byte) (change.Entry, error) {
	e := change.Entry{Table: t.name, HasRowID: t.hasRowID}
	if t.hasRowID {
		r := reader{b: id}
		e.RowID = r.int()
		e.NewRowID = e.RowID
		return e, r.err
	}
	for _, name := range t.key {
		v, rest, err := change.ReadValue(id)
		if err != nil {
			return e, errDamaged
		}
		e.Key, id = append(e.Key, change.Column{Name: name, Value: v}), rest
	}
	return e, nil
}

// get returns a row of the net; nil if the net does not have it.
func (n *net) get(t *table, id []byte) (r *row, err error) {
	n.find.BindInt64(1, int64(t.index))
	n.find.BindBlob(2, id)
	defer n.find.Clear()
	found, err := n.find.Step()
	if err != nil || !found {
		return nil, err
	}
	return decode(n.find.Blob(0), &t.names)
}

func (n *net) set(t *table, id []byte, r *row) error {
	t.some = true
	n.put.BindInt64(1, int64(t.index))
	n.put.BindBlob(2, id)
	n.put.BindBlob(3, r.encode(&t.names))
	defer n.put.Clear()
	return n.put.Run()
}

// at is where in the log a change is.
type at struct{ sequence, tx, millis int64 }

// add adds a row's change, at the moment made or now.
func (n *net) add(moment int, where at, e *change.Entry) error {
	t := n.table(e)
	if moment == now {
		t.later = true
	}
	from := identity(t, e.RowID, e.Key)
	if !e.Moved() {
		_, err := n.fold(t, moment, where, from, e, false)
		return err
	}
	leaves, arrives := *e, *e
	leaves.Op = change.Delete
	arrives.Op, arrives.RowID, arrives.Key = change.Insert, e.NewRowID, moveKey(e)
	to := identity(t, arrives.RowID, arrives.Key)
	before, err := n.get(t, from)
	if err != nil {
		return err
	}
	follows := before != nil && !before.idle() && before.left()
	r, err := n.fold(t, moment, where, from, &leaves, false)
	if err != nil {
		return err
	}
	if follows && moment == now {
		r.moved = to
		if err := n.set(t, from, r); err != nil {
			return err
		}
	}
	if moment == made || follows {
		if err := n.moves(t, from, to); err != nil {
			return err
		}
	}
	_, err = n.fold(t, moment, where, to, &arrives, follows)
	return err
}

// moveKey returns the key that a row has after an update that moves it.
func moveKey(e *change.Entry) []change.Column {
	out := append([]change.Column(nil), e.Key...)
	for i := range out {
		if v := change.Find(e.After, out[i].Name); v != nil {
			out[i].Value = *v
		}
	}
	return out
}

// fold folds a change into the row with an identity, and returns the row. Of what came
// after the range, only rows of the net count, and those that follows says have moved from
// there. For another, it returns nil.
func (n *net) fold(t *table, moment int, where at, id []byte, e *change.Entry, follows bool) (*row, error) {
	r, err := n.get(t, id)
	switch {
	case err != nil:
		return nil, err
	case r == nil && moment == now && !follows:
		return nil, nil
	case r == nil:
		r = first(e)
		r.follows = moment == now
		if r.key = e.Key; len(r.key) == 0 {
			r.key = []change.Column{{Name: "rowid", Value: change.Value{Kind: change.Integer, Int: e.RowID}}}
		}
	}
	if moment == now && e.Op != change.Update {
		r.other = e.Op == change.Delete || !follows
	} else if moment == now && !r.since {
		r.other = !r.images[made].exists
	}
	r.fold(moment, e)
	if moment == made {
		r.last = where.sequence
	} else {
		r.later, r.tx, r.millis = where.sequence, where.tx, where.millis
	}
	return r, n.set(t, id, r)
}

func (n *net) moves(t *table, from, to []byte) error {
	n.move.BindInt64(1, int64(t.index))
	n.move.BindBlob(2, from)
	n.move.BindBlob(3, to)
	defer n.move.Clear()
	return n.move.Run()
}

// each calls fn for every row of the net. Rows with the same table come together.
func (n *net) each(fn func(t *table, id []byte, r *row) error) error {
	return n.c.Each("SELECT tbl, id, row FROM net ORDER BY tbl, id", func(st *sqlite.Stmt) error {
		t := n.tables[st.Int64(0)]
		r, err := decode(st.View(2), &t.names)
		if err != nil {
			return err
		}
		return fn(t, st.Blob(1), r)
	})
}

// keep removes every row but the one with this key, and those that it moved to or from. A
// key with other columns than the table's is an error.
func (n *net) keep(key map[string]change.Value) error {
	if err := n.c.Exec("CREATE TABLE kept(tbl INTEGER, id BLOB, PRIMARY KEY(tbl, id))"); err != nil {
		return err
	}
	st, err := n.c.Prepare("INSERT INTO kept VALUES(?1, ?2)")
	if err != nil {
		return err
	}
	defer st.Finalize()
	if err := n.each(func(t *table, id []byte, r *row) error {
		match, err := r.has(t, key)
		if err != nil || !match {
			return err
		}
		st.BindInt64(1, int64(t.index))
		st.BindBlob(2, id)
		defer st.Clear()
		return st.Run()
	}); err != nil {
		return err
	}
	return n.c.Exec(`CREATE INDEX move_a ON move(a); CREATE INDEX move_b ON move(b);
		INSERT OR IGNORE INTO kept WITH RECURSIVE all_kept(tbl, id) AS (
			SELECT tbl, id FROM kept
			UNION SELECT m.tbl, m.b FROM move m, all_kept k WHERE m.a = k.id AND m.tbl = k.tbl
			UNION SELECT m.tbl, m.a FROM move m, all_kept k WHERE m.b = k.id AND m.tbl = k.tbl)
		SELECT tbl, id FROM all_kept;
		DELETE FROM net WHERE (tbl, id) NOT IN (SELECT tbl, id FROM kept)`)
}

// has reports whether the row had this key before the range or after it.
func (r *row) has(t *table, key map[string]change.Value) (bool, error) {
	if len(r.key) != len(key) {
		return false, r.wrongKey(t, key)
	}
	for _, m := range r.images[:now] {
		match := m.exists
		for name, want := range key {
			v := find(m.columns, name)
			if v == nil {
				v = find(r.key, name)
			}
			if v == nil {
				return false, r.wrongKey(t, key)
			}
			match = match && equal(*v, want)
		}
		if match {
			return true, nil
		}
	}
	return false, nil
}

func (r *row) wrongKey(t *table, key map[string]change.Value) error {
	var has, wants []string
	for _, c := range r.key {
		has = append(has, c.Name)
	}
	for name := range key {
		wants = append(wants, name)
	}
	return fmt.Errorf("the key of table %s is (%s), not (%s)", t.name, strings.Join(has, ", "), strings.Join(wants, ", "))
}

// find is change.Find for a name that a user wrote.
func find(columns []change.Column, name string) *change.Value {
	for i := range columns {
		if strings.EqualFold(columns[i].Name, name) {
			return &columns[i].Value
		}
	}
	return nil
}

// equal compares two values as SQLite does without a collation: 5 is 5.0.
func equal(a, b change.Value) bool {
	if a.Kind == change.Real && b.Kind == change.Integer {
		a, b = b, a
	}
	if a.Kind == change.Integer && b.Kind == change.Real {
		n := int64(b.Real)
		return n == a.Int && float64(n) == b.Real
	}
	return a.Same(&b)
}
