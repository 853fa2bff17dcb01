package change

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// SequenceTable is SQLite's table of AUTOINCREMENT counters. Its rows are
// addressed by name, since their rowids depend on the order in which a database
// was built. An Update sets a counter, whether or not it exists.
const SequenceTable = "sqlite_sequence"

// maxCount is the largest count of a barrier, and the limit of sequence numbers.
const maxCount = 1 << 53

// ErrMalformed is returned if a log row's data cannot be decoded.
var ErrMalformed = errors.New("malformed log row")

// Decode reads the data of a log row and calls fn for each entry in order. shape
// returns the shape with a number. The entry and the memory it refers to are valid
// until fn returns.
func Decode(data []byte, shape func(id int64) (*Shape, error), fn func(*Entry) error) error {
	return new(Decoder).Decode(data, shape, fn)
}

// Decoder decodes many rows, one after the other, and reuses the memory of entries.
type Decoder struct {
	entry  Entry
	shapes []*Shape
}

// Decode is like the function Decode. fn must not call it on the same Decoder.
func (r *Decoder) Decode(data []byte, shape func(id int64) (*Shape, error), fn func(*Entry) error) error {
	d := decoder{b: data}
	if v := d.byte(); d.err == nil && v != formatVersion {
		return fmt.Errorf("%w: version %d is newer than this program; upgrade DriftDB", ErrMalformed, v)
	}
	n := d.uvarint()
	if d.err == nil && n > uint64(len(data)) {
		d.fail()
	}
	r.shapes = r.shapes[:0]
	for i := uint64(0); i < n && d.err == nil; i++ {
		id := d.uvarint()
		if d.err != nil {
			break
		}
		s, err := shape(int64(id))
		if err != nil {
			return err
		}
		r.shapes = append(r.shapes, s)
	}
	for d.err == nil && len(d.b) > 0 {
		d.entry(&r.entry, r.shapes)
		if d.err != nil {
			break
		}
		if err := fn(&r.entry); err != nil {
			return err
		}
	}
	return d.err
}

type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = ErrMalformed
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes(d.uvarint())) }

func (d *decoder) value() Value {
	switch k := Kind(d.byte()); k {
	case Null:
		return Value{}
	case Integer:
		return Value{Kind: Integer, Int: d.varint()}
	case Real:
		if b := d.bytes(8); b != nil {
			return Value{Kind: Real, Real: math.Float64frombits(binary.LittleEndian.Uint64(b))}
		}
	case Text, Blob:
		return Value{Kind: k, Bytes: d.bytes(d.uvarint())}
	default:
		d.fail()
	}
	return Value{}
}

func (d *decoder) entry(e *Entry, shapes []*Shape) {
	*e = Entry{Key: e.Key[:0], After: e.After[:0], Before: e.Before[:0]}
	switch k := d.byte(); k {
	case kindInsert, kindUpdate, kindDelete:
		i := d.uvarint()
		if i >= uint64(len(shapes)) {
			d.fail()
			return
		}
		d.row(e, k, shapes[i])
	case kindSchema:
		f := d.byte()
		e.Op = Schema
		e.Settings = Settings{ForeignKeys: f&1 != 0, LegacyAlterTable: f&2 != 0, DoubleQuotedDDL: f&4 != 0, DoubleQuotedDML: f&8 != 0}
		e.SQL = d.string()
	case kindBarrier:
		e.Op, e.Reason = Barrier, d.string()
	case kindRange:
		n := d.uvarint()
		if n < 2 || n > maxCount {
			d.fail()
			return
		}
		e.Op, e.Count, e.Reason = Barrier, int64(n), d.string()
	case kindSequence, kindSequenceEnd:
		e.Op, e.Table = Update, SequenceTable
		e.Key = append(e.Key, Column{"name", Value{Kind: Text, Bytes: d.bytes(d.uvarint())}})
		if k == kindSequenceEnd {
			e.Op = Delete
		} else {
			e.After = append(e.After, Column{"seq", Value{Kind: Integer, Int: d.varint()}})
		}
	default:
		d.fail()
	}
}

func (d *decoder) row(e *Entry, kind byte, s *Shape) {
	e.Table, e.HasRowID = s.Table, s.RowID
	if s.RowID {
		e.RowID = d.varint()
		e.NewRowID = e.RowID
	}
	switch kind {
	case kindInsert:
		e.Op = Insert
		for _, c := range s.Columns {
			e.After = append(e.After, Column{c, d.value()})
		}
		e.setKey(s, e.After)
	case kindDelete:
		e.Op = Delete
		for _, c := range s.Columns {
			e.Before = append(e.Before, Column{c, d.value()})
		}
		e.setKey(s, e.Before)
	case kindUpdate:
		e.Op = Update
		if s.RowID {
			e.NewRowID += d.varint()
		}
		for _, i := range s.Key {
			e.Key = append(e.Key, Column{s.Columns[i], d.value()})
		}
		changed := d.bytes(uint64(len(s.Columns)+7) / 8)
		if d.err != nil {
			return
		}
		for i, c := range s.Columns {
			if changed[i/8]&(1<<(i%8)) != 0 {
				e.Before = append(e.Before, Column{c, d.value()})
				e.After = append(e.After, Column{c, d.value()})
			}
		}
	}
}

// setKey copies the key's columns from a whole row.
func (e *Entry) setKey(s *Shape, row []Column) {
	for _, i := range s.Key {
		e.Key = append(e.Key, row[i])
	}
}
