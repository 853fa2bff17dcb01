package diff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Settle ends the adding. It returns ErrUnclear if the changes taken up do not lead from one
// point to the other when they are made in the order of Changes: forward, or reversed.
func (f *Fold) Settle(reversed bool) error {
	last := f.rowsAt()
	for _, s := range f.schema[:last] {
		if s.risky {
			return fmt.Errorf("%w: change %d (%.200s) depends on the changes of rows before it", ErrUnclear, s.Sequence, s.Entry.SQL)
		}
	}
	switch {
	case reversed && len(f.schema) > 0:
		return fmt.Errorf("%w: the log does not have the schema that there was before change %d", ErrUnclear, f.schema[0].Sequence)
	case reversed && len(f.counters) > 0:
		return fmt.Errorf("%w: the log does not have what AUTOINCREMENT counters were before", ErrUnclear)
	}
	return f.c.Exec(`CREATE INDEX gone ON row(tbl, origin) WHERE now IS NULL;
		CREATE INDEX moved ON row(tbl, origin) WHERE now IS NOT NULL AND now <> origin`)
}

// rowsAt is how many of the schema changes come before the rows: all but the indexes that
// are created after everything else.
func (f *Fold) rowsAt() int {
	n := len(f.schema)
	for n > 0 && f.schema[n-1].index {
		n--
	}
	return n
}

// The parts of a table's net changes, in the order in which they are made. A deleted row and
// an inserted one of the same identity are one row that has been updated.
const (
	deletes = "FROM row r WHERE r.tbl = ?1 AND r.now IS NULL AND NOT EXISTS (SELECT 1 FROM row n WHERE n.tbl = r.tbl AND n.now = r.origin AND n.origin IS NULL)"
	stays   = "FROM row r " + replaced + " WHERE r.tbl = ?1 AND r.now IS NOT NULL AND (r.origin IS NOT NULL OR d.id IS NOT NULL)"
	inserts = "FROM row r " + replaced + " WHERE r.tbl = ?1 AND r.origin IS NULL AND d.id IS NULL"

	replaced = "LEFT JOIN row d INDEXED BY gone ON r.origin IS NULL AND d.tbl = r.tbl AND d.origin = r.now AND d.now IS NULL"
)

// Changes yields the net changes: what is made in this order, to the database of the first
// point, makes it that of the second; reversed, it is the other way round.
//
// Schema changes come first, and then for each table the rows that are deleted, those that
// are updated, and those that are inserted. A row whose identity changes comes after the row
// that had its new identity, unless rows exchange theirs. Counters of AUTOINCREMENT follow
// the rows, since inserts move them, and then the indexes that were created at the end.
//
// With inSteps, rows that exchange identities or values have two updates each, so that each
// update is possible when it comes.
func (f *Fold) Changes(ctx context.Context, reversed, inSteps bool) iter.Seq2[history.Change, error] {
	return func(yield func(history.Change, error) bool) {
		n := &netting{f: f, ctx: ctx, reversed: reversed, inSteps: inSteps}
		n.emit = func(c history.Change) error {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if !yield(c, nil) {
				return errStopped
			}
			return nil
		}
		if err := n.all(); err != nil && !errors.Is(err, errStopped) {
			yield(history.Change{}, err)
		}
	}
}

type netting struct {
	f                 *Fold
	ctx               context.Context
	reversed, inSteps bool
	emit              func(history.Change) error
	room              *exchange      // what makeRoom has put aside in the table at hand
	moved             map[int64]bool // the rows with a new identity that have been emitted, of the table at hand
}

func (n *netting) all() error {
	f := n.f
	rowsAt := f.rowsAt()
	for _, s := range f.schema[:rowsAt] {
		if err := n.emit(s.Change); err != nil {
			return err
		}
	}
	tables := slices.SortedFunc(maps.Values(f.tables), func(a, b *table) int { return strings.Compare(a.name, b.name) })
	for _, t := range tables {
		if err := n.table(t); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.counters)) {
		if err := n.emit(*f.counters[name]); err != nil {
			return err
		}
	}
	for _, s := range f.schema[rowsAt:] {
		if err := n.emit(s.Change); err != nil {
			return err
		}
	}
	return nil
}

func (n *netting) table(t *table) error {
	first, last := deletes, inserts
	if n.reversed {
		first, last = inserts, deletes
	}
	if err := n.part(t, first); err != nil {
		return err
	}
	if n.inSteps {
		if err := n.makeRoom(t); err != nil {
			return err
		}
	}
	err := n.part(t, stays)
	if n.room = nil; err != nil {
		return err
	}
	return n.part(t, last)
}

// makeRoom emits the updates that free the values that rows of a table exchange.
func (n *netting) makeRoom(t *table) error {
	x, emit := new(exchange), n.emit
	defer func() { n.emit, n.inSteps = emit, true }()
	n.inSteps = false
	n.emit = func(c history.Change) error { x.see(c.Entry); return n.ctx.Err() }
	if err := n.part(t, stays); err != nil || !x.settle() {
		return err
	}
	n.emit = func(c history.Change) error {
		if c.Entry = x.park(c.Entry); c.Entry == nil {
			return nil
		}
		return emit(c)
	}
	err := n.part(t, stays)
	n.room = x
	return err
}

// part emits one part of a table's changes, in the order in which rows were first touched.
func (n *netting) part(t *table, part string) error {
	columns := rowColumns
	if strings.Contains(part, replaced) {
		columns += ", " + strings.ReplaceAll(rowColumns, "r.", "d.")
	}
	n.moved = map[int64]bool{}
	st, err := n.f.c.Cached("SELECT " + columns + " " + part + " ORDER BY r.id")
	if err != nil {
		return err
	}
	defer st.Release()
	st.BindInt64(1, t.id)
	return st.Each(func(st *sqlite.Stmt) error {
		r, err := scanRow(st, 0)
		if err != nil {
			return err
		}
		if part == stays && !st.IsNull(rowWidth) {
			d, err := scanRow(st, rowWidth)
			if err != nil {
				return err
			}
			r.replace(d)
		}
		if part == stays && n.moves(r) {
			return n.chain(t, r)
		}
		return n.row(t, r)
	})
}

// replace makes r, which was inserted, the row d of the same identity, which was deleted.
func (r *row) replace(d *row) {
	r.origin, r.key = d.origin, d.key
	for _, c := range d.cells {
		if have := cellOf(r.cells, c.column); have != nil {
			have.before = c.before
		} else {
			r.cells = append(r.cells, c)
		}
	}
	if d.sequence > r.sequence {
		r.place = d.place
	}
}

func (n *netting) moves(r *row) bool { return !bytes.Equal(r.origin, r.now) }

// chain emits a row that gets another identity, after the rows that have to make room.
func (n *netting) chain(t *table, r *row) error {
	var chain []*row
	for r != nil && !n.moved[r.id] {
		n.moved[r.id] = true
		chain = append(chain, r)
		var err error
		if r, err = n.blocker(t, r); err != nil {
			return err
		}
	}
	// If the chain ends where it begins, its first row has the identity that the last one takes.
	var held *history.Change
	if len(chain) > 0 && r != nil && r.id == chain[0].id && n.inSteps {
		c, err := n.change(t, chain[0])
		if err != nil {
			return err
		}
		first := *c
		first.Entry = step(c.Entry)
		if err := n.emit(first); err != nil {
			return err
		}
		held, chain = c, chain[1:]
	}
	for _, r := range slices.Backward(chain) {
		if err := n.row(t, r); err != nil {
			return err
		}
	}
	if held == nil {
		return nil
	}
	return n.emit(*held)
}

// blocker returns the row that has r's new identity and gets another one, or nil.
func (n *netting) blocker(t *table, r *row) (found *row, err error) {
	query, identity := "r INDEXED BY moved WHERE r.tbl = ?1 AND r.origin = ?2 AND r.now IS NOT NULL AND r.now <> r.origin", r.now
	if n.reversed {
		query, identity = "r INDEXED BY live WHERE r.tbl = ?1 AND r.now = ?2 AND r.origin IS NOT NULL AND r.now <> r.origin", r.origin
	}
	st, err := n.f.c.Cached("SELECT " + rowColumns + " FROM row " + query)
	if err != nil {
		return nil, err
	}
	defer st.Release()
	st.BindInt64(1, t.id)
	st.BindBlob(2, identity)
	err = st.Each(func(st *sqlite.Stmt) (err error) { found, err = scanRow(st, 0); return err })
	return found, err
}

// row emits the net change of a row, if there is one.
func (n *netting) row(t *table, r *row) error {
	c, err := n.change(t, r)
	if err != nil || c == nil {
		return err
	}
	return n.emit(*c)
}

func (n *netting) change(t *table, r *row) (*history.Change, error) {
	if n.reversed {
		if err := r.reverse(t); err != nil {
			return nil, err
		}
	}
	e, err := t.entry(r)
	if err != nil || e == nil {
		return nil, err
	}
	if n.room != nil {
		n.room.parkedKey(e)
	}
	return &history.Change{Sequence: r.sequence, Tx: r.tx, Time: r.time, Entry: e}, nil
}

// reverse exchanges the row's states at the two points.
func (r *row) reverse(t *table) (err error) {
	var key []byte
	rest := r.key
	for _, column := range t.key {
		var v change.Value
		if len(rest) > 0 {
			if v, rest, err = change.ReadValue(rest); err != nil {
				return err
			}
		}
		if c := cellOf(r.cells, column); c != nil && c.after != nil {
			v = *c.after
		}
		key = change.AppendValue(key, v)
	}
	r.origin, r.now, r.key = r.now, r.origin, key
	for i := range r.cells {
		c := &r.cells[i]
		c.before, c.after = c.after, c.before
	}
	return nil
}

// entry returns the net change of a row as an entry, nil if there is none.
func (t *table) entry(r *row) (*change.Entry, error) {
	e := &change.Entry{Table: t.name, HasRowID: t.hasRowID}
	moved := !bytes.Equal(r.origin, r.now)
	switch {
	case r.origin == nil:
		e.Op = change.Insert
	case r.now == nil:
		e.Op = change.Delete
	default:
		e.Op = change.Update
		if !moved {
			r.cells = slices.DeleteFunc(r.cells, func(c cell) bool { return !c.changed() })
		}
	}
	e.Before, e.After = t.columns(r.cells, before), t.columns(r.cells, after)
	if e.Op == change.Update && len(e.After) == 0 && !moved {
		return nil, nil
	}
	return e, t.identify(e, r)
}

// identify sets the identity of e's row.
func (t *table) identify(e *change.Entry, r *row) (err error) {
	if t.hasRowID {
		was, is := r.origin, r.now
		if was == nil {
			was = is
		} else if is == nil {
			is = was
		}
		if e.RowID, err = rowID(was); err == nil {
			e.NewRowID, err = rowID(is)
		}
	}
	rest := r.key
	for _, column := range t.key {
		var v change.Value
		if c := cellOf(r.cells, column); r.origin == nil && c != nil && c.after != nil {
			v = *c.after
		} else if len(rest) > 0 && err == nil {
			v, rest, err = change.ReadValue(rest)
		}
		e.Key = append(e.Key, change.Column{Name: t.names[column], Value: v})
	}
	return err
}

func rowID(identity []byte) (int64, error) {
	v, _, err := change.ReadValue(identity)
	return v.Int, err
}
