// Package digest computes digests of tables that do not depend on the order of rows, so
// that two databases can be compared by a few bytes for each table.
//
// A digest is the sum, modulo 2^128, of a hash for every row and of one for
// every cell that is not NULL:
//
//	row   H(identity)
//	cell  H(identity ‖ column's name ‖ value)
//
// where H is the first 16 bytes of SHA-256, as a big-endian number. The
// identity is how the change log addresses the row: a zero byte and the
// rowid, or the number of the key's columns and their values. Numbers, names
// and values are encoded as in a log row (package change), so each is
// self-delimiting. An empty table has the sum zero, a column without values adds
// nothing, and neither the table's name nor generated columns count.
//
// A change of a row adds and subtracts a few hashes, so a digest can be
// maintained from the log alone, forwards and backwards.
package digest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/bits"

	"github.com/driftdb/driftdb-go/internal/change"
)

// Sum is a table's digest. The zero Sum is that of a table without rows.
type Sum [16]byte

// String returns 32 lower-case hex digits.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// AppendText implements [encoding.TextAppender] with the digits of String.
func (s Sum) AppendText(b []byte) ([]byte, error) { return hex.AppendEncode(b, s[:]), nil }

// MarshalText implements [encoding.TextMarshaler] with the digits of String.
func (s Sum) MarshalText() ([]byte, error) { return s.AppendText(nil) }

var errText = errors.New("a digest is 32 lower-case hex digits")

// UnmarshalText implements [encoding.TextUnmarshaler]. It accepts only what
// String returns.
func (s *Sum) UnmarshalText(text []byte) error {
	var got Sum
	if len(text) != 2*len(got) {
		return errText
	}
	for _, d := range text {
		if 'A' <= d && d <= 'F' {
			return errText // one spelling only
		}
	}
	if _, err := hex.Decode(got[:], text); err != nil {
		return errText
	}
	*s = got
	return nil
}

// tally adds up hashes. The zero tally is that of an empty table.
type tally struct{ hi, lo uint64 }

func tallyOf(s Sum) tally {
	return tally{binary.BigEndian.Uint64(s[:]), binary.BigEndian.Uint64(s[8:])}
}

func (t tally) sum() (s Sum) {
	binary.BigEndian.PutUint64(s[:], t.hi)
	binary.BigEndian.PutUint64(s[8:], t.lo)
	return s
}

func (t *tally) add(o tally) {
	var carry uint64
	t.lo, carry = bits.Add64(t.lo, o.lo, 0)
	t.hi, _ = bits.Add64(t.hi, o.hi, carry)
}

func (t *tally) subtract(o tally) {
	var borrow uint64
	t.lo, borrow = bits.Sub64(t.lo, o.lo, 0)
	t.hi, _ = bits.Sub64(t.hi, o.hi, borrow)
}

// hash adds H(input), or subtracts it.
func (t *tally) hash(input []byte, remove bool) {
	h := sha256.Sum256(input)
	o := tally{binary.BigEndian.Uint64(h[:]), binary.BigEndian.Uint64(h[8:])}
	if remove {
		t.subtract(o)
	} else {
		t.add(o)
	}
}

// encoder makes the inputs that must be hashed for a change. Its buffer holds the
// identity of the current row, followed by a cell.
type encoder struct{ buf []byte }

// entry calls hash for every hash that a change of a row adds or subtracts. With
// revert, it exchanges the two.
func (d *encoder) entry(e *change.Entry, revert bool, hash func(input []byte, remove bool)) {
	if e.HasRowID {
		d.rowID(e.RowID)
	} else {
		d.key(e.Key, nil)
	}
	switch {
	case e.Op == change.Insert:
		d.row(e.After, revert, hash)
	case e.Op == change.Delete:
		d.row(e.Before, !revert, hash)
	case !e.Moved():
		d.cells(e.Before, !revert, hash)
		d.cells(e.After, revert, hash)
	default: // the entry has all columns
		d.row(e.Before, !revert, hash)
		if e.HasRowID {
			d.rowID(e.NewRowID)
		} else {
			d.key(e.Key, e.After)
		}
		d.row(e.After, revert, hash)
	}
}

func (d *encoder) rowID(id int64) { d.buf = binary.AppendVarint(append(d.buf[:0], 0), id) }

// key makes the values of a key the identity. Values in changed take precedence.
func (d *encoder) key(key, changed []change.Column) {
	d.buf = binary.AppendUvarint(d.buf[:0], uint64(len(key)))
	for i := range key {
		v := change.Find(changed, key[i].Name)
		if v == nil {
			v = &key[i].Value
		}
		d.buf = change.AppendValue(d.buf, *v)
	}
}

func (d *encoder) row(columns []change.Column, remove bool, hash func([]byte, bool)) {
	hash(d.buf, remove)
	d.cells(columns, remove, hash)
}

func (d *encoder) cells(columns []change.Column, remove bool, hash func([]byte, bool)) {
	id := len(d.buf)
	for i := range columns {
		c := &columns[i]
		if c.Value.Kind == change.Null {
			continue
		}
		d.buf = binary.AppendUvarint(d.buf, uint64(len(c.Name)))
		d.buf = append(d.buf, c.Name...)
		d.buf = change.AppendValue(d.buf, c.Value)
		hash(d.buf, remove)
		d.buf = d.buf[:id]
	}
}

// Plus returns the digest of the union of two disjoint sets of rows.
func (s Sum) Plus(o Sum) Sum {
	t := tallyOf(s)
	t.add(tallyOf(o))
	return t.sum()
}

// Minus removes the rows of o: it returns the digest that Plus adds to o to make s.
func (s Sum) Minus(o Sum) Sum {
	t := tallyOf(s)
	t.subtract(tallyOf(o))
	return t.sum()
}
