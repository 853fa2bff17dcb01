package undo

import (
	"encoding/binary"
	"errors"

	"github.com/driftdb/driftdb-go/internal/change"
)

// A row is followed through three moments.
const (
	was  = iota // before the range
	made        // after the range
	now         // after everything that came later
	moments
)

// image is what is known of a row at one moment. Of a row that was only updated, the log
// has the columns that changed.
type image struct {
	exists  bool
	open    bool // the row is the one that later changes are about: more columns may become known
	columns []change.Column
}

// learn adds the columns that are not known yet.
func (m *image) learn(columns []change.Column) {
	if !m.exists || !m.open {
		return
	}
	for _, c := range columns {
		if change.Find(m.columns, c.Name) == nil {
			m.columns = append(m.columns, c)
		}
	}
}

// set sets columns.
func (m *image) set(columns []change.Column) {
	for _, c := range columns {
		if v := change.Find(m.columns, c.Name); v != nil {
			*v = c.Value
		} else {
			m.columns = append(m.columns, c)
		}
	}
}

// clone returns a copy that set does not connect with m.
func (m *image) clone() image {
	return image{m.exists, m.open, append([]change.Column(nil), m.columns...)}
}

// same reports whether o is the same row as m, as far as both are known.
func (m *image) same(o *image) bool {
	if m.exists != o.exists {
		return false
	}
	for i := range o.columns {
		if v := change.Find(m.columns, o.columns[i].Name); v != nil && !v.Same(&o.columns[i].Value) {
			return false
		}
	}
	return true
}

// row is what the log says about the row with one identity.
type row struct {
	key     []change.Column // the public key, when the range first changed it
	images  [moments]image
	since   bool   // it was changed after the range; else images[now] is not used
	other   bool   // after the range, the row that it left here has gone; a later one may be here
	follows bool   // only known because a row of the range moved here after it
	moved   []byte // the identity to which the row moved after the range

	last              int64 // the sequence of the range's last change
	later, tx, millis int64 // the last change after the range
}

// fold adds a change of the row, which is not a move, at the moment made or now.
func (r *row) fold(moment int, e *change.Entry) {
	if moment == now && !r.since {
		r.since, r.images[now] = true, r.images[made].clone()
	}
	before := r.images[:moment]
	switch m := &r.images[moment]; e.Op {
	case change.Insert:
		*m = image{exists: true, open: true}
		m.set(e.After)
		r.moved = nil
	case change.Update:
		for i := range before {
			before[i].learn(e.Before)
		}
		m.set(e.After)
	case change.Delete:
		for i := range before {
			before[i].learn(e.Before)
		}
		*m = image{}
	}
	if e.Op != change.Update {
		for i := range before {
			before[i].open = false
		}
	}
}

// first returns a row as it was before its first change.
func first(e *change.Entry) *row {
	r := new(row)
	if e.Op != change.Insert {
		r.images[was] = image{exists: true, open: true}
		r.images[made] = r.images[was]
	}
	return r
}

// is returns the last known image.
func (r *row) is() *image {
	if r.since {
		return &r.images[now]
	}
	return &r.images[made]
}

// left reports whether the row that is here now is one that the range left, and not one that
// was inserted later.
func (r *row) left() bool {
	if !r.since {
		return r.images[made].exists
	}
	return r.images[now].exists && !r.other
}

// idle reports whether the range did nothing to the row in the end.
func (r *row) idle() bool { return r.images[was].same(&r.images[made]) && !r.follows }

// names numbers the columns' names of a table, for the compact form of a row.
type names struct {
	list  []string
	index map[string]int
}

func (n *names) of(name string) int {
	i, known := n.index[name]
	if !known {
		if n.index == nil {
			n.index = map[string]int{}
		}
		i = len(n.list)
		n.index[name] = i
		n.list = append(n.list, name)
	}
	return i
}

func (n *names) append(b []byte, columns []change.Column) []byte {
	b = binary.AppendUvarint(b, uint64(len(columns)))
	for i := range columns {
		b = binary.AppendUvarint(b, uint64(n.of(columns[i].Name)))
		b = change.AppendValue(b, columns[i].Value)
	}
	return b
}

// reader reads what names.append and binary.Append… have written. Only this package writes
// it, so an error is a mistake or a damaged temporary file.
type reader struct {
	b   []byte
	err error
}

var errDamaged = errors.New("the temporary file of the undo is damaged")

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.err = nil, errDamaged
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) count() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(len(r.b)) && v > 1<<20 {
		r.b, r.err = nil, errDamaged
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) bytes() []byte {
	n := r.count()
	if n > len(r.b) {
		r.b, r.err = nil, errDamaged
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) columns(names *names) []change.Column {
	n := r.count()
	if n == 0 || r.err != nil {
		return nil
	}
	out := make([]change.Column, 0, n)
	for range n {
		i := r.count()
		v, rest, err := change.ReadValue(r.b)
		if err != nil || i >= len(names.list) {
			r.b, r.err = nil, errDamaged
			return nil
		}
		r.b = rest
		out = append(out, change.Column{Name: names.list[i], Value: v})
	}
	return out
}

// flags of a row's compact form.
const (
	flagSince = 1 << iota
	flagFollows
	flagExists // shifted by 2*moment
	flagOpen

	flagOther = 1 << 8
)

// encode returns the compact form of a row of a table with these names.
func (r *row) encode(n *names) []byte {
	flags := int64(0)
	if r.since {
		flags |= flagSince
	}
	if r.follows {
		flags |= flagFollows
	}
	if r.other {
		flags |= flagOther
	}
	for i := range r.images {
		if r.images[i].exists {
			flags |= flagExists << (2 * i)
		}
		if r.images[i].open {
			flags |= flagOpen << (2 * i)
		}
	}
	var b []byte
	for _, v := range []int64{flags, r.last, r.later, r.tx, r.millis} {
		b = binary.AppendVarint(b, v)
	}
	b = append(binary.AppendUvarint(b, uint64(len(r.moved))), r.moved...)
	b = n.append(b, r.key)
	for i := range r.images {
		b = n.append(b, r.images[i].columns)
	}
	return b
}

// decode is the inverse of encode. The row shares b's memory.
func decode(b []byte, n *names) (*row, error) {
	d := reader{b: b}
	r := new(row)
	flags := d.int()
	r.since, r.follows, r.other = flags&flagSince != 0, flags&flagFollows != 0, flags&flagOther != 0
	r.last, r.later, r.tx, r.millis = d.int(), d.int(), d.int(), d.int()
	if r.moved = d.bytes(); len(r.moved) == 0 {
		r.moved = nil
	}
	r.key = d.columns(n)
	for i := range r.images {
		r.images[i] = image{flags&(flagExists<<(2*i)) != 0, flags&(flagOpen<<(2*i)) != 0, d.columns(n)}
	}
	return r, d.err
}
