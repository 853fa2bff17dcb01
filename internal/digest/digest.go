// Package digest sums up what tables hold, independently of the order of their
// rows, so that two databases can be compared by a few bytes for each table.
//
// A digest is the sum, modulo 2^128, of a hash for every row and of one for
// every cell that is not NULL:
//
//	row   H(identity)
//	cell  H(identity ‖ column's name ‖ value)
//
// where H is the first 16 bytes of SHA-256, as a big-endian number. The
// identity is what the change log addresses the row by: a zero byte and the
// rowid, or the number of the key's columns and their values. Numbers, names
// and values are encoded as in a log row (package change), so each says where
// it ends. An empty table has the sum zero, a column without values adds
// nothing, and neither the table's name nor generated columns count.
//
// A change of a row adds and takes away a few hashes: a digest is kept up from
// the log alone, forwards and backwards.
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

// UnmarshalText implements [encoding.TextUnmarshaler]. It takes nothing but
// what String returns.
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

// Tally adds up rows and changes of rows of one table. The zero Tally is that
// of an empty table.
type Tally struct {
	hi, lo uint64
	buf    []byte // what is hashed: a row's identity, then a cell
}

// Sum is the digest of what was added.
func (t *Tally) Sum() (s Sum) {
	binary.BigEndian.PutUint64(s[:], t.hi)
	binary.BigEndian.PutUint64(s[8:], t.lo)
	return s
}

// set starts from s.
func (t *Tally) set(s Sum) {
	t.hi, t.lo = binary.BigEndian.Uint64(s[:]), binary.BigEndian.Uint64(s[8:])
}

// hash adds H(b), or takes it away.
func (t *Tally) hash(b []byte, remove bool) {
	h := sha256.Sum256(b)
	hi, lo := binary.BigEndian.Uint64(h[:]), binary.BigEndian.Uint64(h[8:])
	var carry uint64
	if remove {
		t.lo, carry = bits.Sub64(t.lo, lo, 0)
		t.hi, _ = bits.Sub64(t.hi, hi, carry)
	} else {
		t.lo, carry = bits.Add64(t.lo, lo, 0)
		t.hi, _ = bits.Add64(t.hi, hi, carry)
	}
}

// rowID makes a rowid the identity of the rows to come.
func (t *Tally) rowID(id int64) { t.buf = binary.AppendVarint(append(t.buf[:0], 0), id) }

// key makes the values of a key that identity. A column that changed has the
// value of changed.
func (t *Tally) key(key, changed []change.Column) {
	t.buf = binary.AppendUvarint(t.buf[:0], uint64(len(key)))
	for i := range key {
		v := &key[i].Value
		if now := change.Find(changed, key[i].Name); now != nil {
			v = now
		}
		t.buf = change.AppendValue(t.buf, *v)
	}
}

// row adds the row itself, or takes it away.
func (t *Tally) row(remove bool) { t.hash(t.buf, remove) }

// cells adds cells of the row whose identity was set, or takes them away.
func (t *Tally) cells(columns []change.Column, remove bool) {
	id := len(t.buf)
	for i := range columns {
		c := &columns[i]
		if c.Value.Kind == change.Null {
			continue
		}
		t.buf = binary.AppendUvarint(t.buf, uint64(len(c.Name)))
		t.buf = append(t.buf, c.Name...)
		t.buf = change.AppendValue(t.buf, c.Value)
		t.hash(t.buf, remove)
		t.buf = t.buf[:id]
	}
}

// Apply adds what an entry of the table did to its rows.
func (t *Tally) Apply(e *change.Entry) { t.change(e, false) }

// Revert takes that back.
func (t *Tally) Revert(e *change.Entry) { t.change(e, true) }

// identify sets the identity that the entry says.
func (t *Tally) identify(e *change.Entry) {
	if e.HasRowID {
		t.rowID(e.RowID)
	} else {
		t.key(e.Key, nil)
	}
}

func (t *Tally) change(e *change.Entry, revert bool) {
	t.identify(e)
	switch {
	case e.Op == change.Insert:
		t.row(revert)
		t.cells(e.After, revert)
	case e.Op == change.Delete:
		t.row(!revert)
		t.cells(e.Before, !revert)
	case !e.Moved():
		t.cells(e.Before, !revert)
		t.cells(e.After, revert)
	default: // the entry has all columns
		t.row(!revert)
		t.cells(e.Before, !revert)
		if e.HasRowID {
			t.rowID(e.NewRowID)
		} else {
			t.key(e.Key, e.After)
		}
		t.row(revert)
		t.cells(e.After, revert)
	}
}
