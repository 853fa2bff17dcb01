package resolve

import (
	"context"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// delta is how a row has changed since the common point.
type delta struct {
	l           *layout
	id          string // the row's identity
	before, now *row   // nil: there was, or is, no such row
}

// row returns a version of the row that has the delta's identity.
func (d *delta) row() *row {
	if d.before != nil {
		return d.before
	}
	return d.now
}

// deltas holds the deltas of a table, in the order in which they were found.
type deltas struct {
	list []*delta
	byID map[string]*delta
}

func (d *deltas) add(x *delta) {
	d.list = append(d.list, x)
	d.byID[x.id] = x
}

// get returns the delta of a row; nil if there is none.
func (d *deltas) get(id string) *delta {
	if d == nil {
		return nil
	}
	return d.byID[id]
}

// compare finds how a table's rows have changed from one state to another. It looks up
// each row in the other state. So memory is needed only for the differences, and SQLite
// decides which rows have the same key.
func compare(ctx context.Context, l *layout, before, now *sqlite.Conn) (*deltas, error) {
	out := &deltas{byID: map[string]*delta{}}
	inBefore, err := l.finder(before)
	if err != nil {
		return nil, err
	}
	inNow, err := l.finder(now)
	if err != nil {
		return nil, err
	}
	met := 0
	if err := l.each(now, func(r *row) error {
		was, err := inBefore(r)
		if err != nil {
			return err
		}
		if was != nil {
			met++
		}
		if !r.same(was) {
			d := &delta{l: l, before: was, now: r}
			d.id = l.identity(d.row())
			out.add(d)
		}
		return ctx.Err()
	}); err != nil {
		return nil, err
	}
	if n, err := before.Int("SELECT count(*) FROM main." + sqlite.Quote(l.Name)); err != nil || int(n) == met {
		return out, err // no row was deleted
	}
	return out, l.each(before, func(r *row) error {
		there, err := inNow(r)
		if err == nil && there == nil {
			out.add(&delta{l: l, id: l.identity(r), before: r})
		}
		if err == nil {
			err = ctx.Err()
		}
		return err
	})
}

// all returns a table's rows as deltas from an empty table.
func all(l *layout, now *sqlite.Conn) (*deltas, error) {
	out := &deltas{byID: map[string]*delta{}}
	return out, l.each(now, func(r *row) error {
		out.add(&delta{l: l, id: l.identity(r), now: r})
		return nil
	})
}

// Change is how a row or the schema has changed on one side.
type Change struct {
	Table         string
	Op            change.Op
	Key           []change.Column
	Before, After []change.Column
	SQL           string // Schema: the new definition; "" if it was dropped
}

func (d *delta) public() Change {
	c := Change{Table: d.l.Name, Op: change.Update, Key: d.l.key(d.row()), Before: d.l.named(d.before), After: d.l.named(d.now)}
	switch {
	case d.before == nil:
		c.Op = change.Insert
	case d.now == nil:
		c.Op = change.Delete
	}
	return c
}
