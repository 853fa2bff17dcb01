package diff

import (
	"encoding/binary"

	"github.com/driftdb/driftdb-go/internal/change"
)

// row is what has become of a row since the first point.
type row struct {
	id     int64  // in the fold's table; 0: not stored yet
	origin []byte // its identity at the first point; nil: it was not there
	key    []byte // its primary key there, values in order
	now    []byte // its identity by now; nil: it has been deleted
	cells  []cell
	place
}

// place is where in the log a change is.
type place struct{ sequence, tx, time int64 }

// cell is what is known of one value of a row; nil: nothing.
type cell struct {
	column        int
	before, after *change.Value // at the first point, and by now
}

func before(c *cell) *change.Value { return c.before }
func after(c *cell) *change.Value  { return c.after }

// changed reports whether the value is another one than at the first point, as far as it is known.
func (c *cell) changed() bool {
	return c.before == nil || c.after == nil || !c.before.Same(c.after)
}

// cell returns the cell of a column, nil if there is none.
func cellOf(cells []cell, column int) *cell {
	for i := range cells {
		if cells[i].column == column {
			return &cells[i]
		}
	}
	return nil
}

// update takes up an update of the row.
func (r *row) update(t *table, e *change.Entry) {
	for i := range e.After {
		n := t.number(e.After[i].Name)
		c := cellOf(r.cells, n)
		if c == nil {
			r.cells = append(r.cells, cell{column: n})
			c = &r.cells[len(r.cells)-1]
			if r.origin != nil {
				c.before = change.Find(e.Before, e.After[i].Name)
			}
		}
		c.after = &e.After[i].Value
	}
}

// delete takes up the deletion of the row, which was there at the first point.
func (r *row) delete(t *table, e *change.Entry) {
	for i := range r.cells {
		r.cells[i].after = nil
	}
	for i := range e.Before {
		n := t.number(e.Before[i].Name)
		if cellOf(r.cells, n) == nil {
			r.cells = append(r.cells, cell{n, &e.Before[i].Value, nil})
		}
	}
	r.now = nil
}

const (
	hasBefore = 1 << iota
	hasAfter
)

func encodeCells(cells []cell) []byte {
	b := []byte{}
	for i := range cells {
		c := &cells[i]
		b = binary.AppendUvarint(b, uint64(c.column))
		flags := byte(0)
		if c.before != nil {
			flags |= hasBefore
		}
		if c.after != nil {
			flags |= hasAfter
		}
		b = append(b, flags)
		if c.before != nil {
			b = change.AppendValue(b, *c.before)
		}
		if c.after != nil {
			b = change.AppendValue(b, *c.after)
		}
	}
	return b
}

func decodeCells(b []byte) (cells []cell, err error) {
	for len(b) > 0 && err == nil {
		n, size := binary.Uvarint(b)
		if size <= 0 || size == len(b) {
			return nil, change.ErrMalformed
		}
		c, flags := cell{column: int(n)}, b[size]
		b = b[size+1:]
		if c.before, b, err = decodeValue(b, flags&hasBefore != 0); err == nil {
			c.after, b, err = decodeValue(b, flags&hasAfter != 0)
		}
		cells = append(cells, c)
	}
	return cells, err
}

func decodeValue(b []byte, there bool) (*change.Value, []byte, error) {
	if !there {
		return nil, b, nil
	}
	v, rest, err := change.ReadValue(b)
	return &v, rest, err
}
