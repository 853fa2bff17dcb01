package resolve

import (
	"context"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// delta is what has become of a row since the point in common.
type delta struct {
	l           *layout
	id          string // the row's identity
	before, now *row   // nil: there was, or is, no such row
}

// row is the one that the delta's identity is that of.
func (d *delta) row() *row {
	if d.before != nil {
		return d.before
	}
	return d.now
}

// deltas are those of a table, in the order in which they were found.
type deltas struct {
	list []*delta
	byID map[string]*delta
}

func (d *deltas) add(x *delta) {
	d.list = append(d.list, x)
	d.byID[x.id] = x
}

// get is the delta of a row; nil if it has none.
func (d *deltas) get(id string) *delta {
	if d == nil {
		return nil
	}
	return d.byID[id]
}

// compare finds out what has become of a table's rows from one state to another. Each
// row is looked up in the other state: that costs no memory but for what differs, and
// SQLite decides which rows have the same key.
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
		return out, err // none is gone
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

// all is a table's rows as deltas of an empty table.
func all(l *layout, now *sqlite.Conn) (*deltas, error) {
	out := &deltas{byID: map[string]*delta{}}
	return out, l.each(now, func(r *row) error {
		out.add(&delta{l: l, id: l.identity(r), now: r})
		return nil
	})
}

// Change is what has become of a row, or of the schema, on one side.
type Change struct {
	Table         string
	Op            change.Op
	Key           []change.Column
	Before, After []change.Column
	SQL           string // Schema: the definition; "" if there is none any more
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
