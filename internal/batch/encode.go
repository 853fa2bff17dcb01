package batch

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/driftdb/driftdb-go/internal/change"
)

// position is the place of an entry in a log.
type position struct{ sequence, time, tx int64 }

// appendEntry appends the entry's JSON object.
func appendEntry(b []byte, p position, e *change.Entry) ([]byte, error) {
	if err := checkEntry(e); err != nil {
		return b, err
	}
	b = append(b, `{"sequence":`...)
	b = strconv.AppendInt(b, p.sequence, 10)
	b = append(b, `,"timestamp":`...)
	b = strconv.AppendInt(b, p.time, 10)
	b = append(b, `,"tx":`...)
	b = strconv.AppendInt(b, p.tx, 10)
	if isRowChange(e.Op) {
		b = append(b, `,"table":`...)
		b = appendText(b, e.Table)
	}
	b = append(b, `,"operation":"`...)
	b = append(b, e.Op.String()...)
	b = append(b, '"')
	if e.HasRowID {
		b = append(b, `,"rowid":`...)
		b = appendInteger(b, e.RowID)
		if e.Op == change.Update && e.NewRowID != e.RowID {
			b = append(b, `,"newRowid":`...)
			b = appendInteger(b, e.NewRowID)
		}
	}
	if e.Op == change.Insert && len(e.Key) > 0 {
		b = appendKeyNames(b, e.Key)
	}
	b = append(b, `,"data":`...)
	return append(appendData(b, e), '}'), nil
}

// appendKeyNames appends the names of an inserted row's primary key columns. Their
// values are among the row's.
func appendKeyNames(b []byte, key []change.Column) []byte {
	b = append(b, `,"key":[`...)
	for i := range key {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendName(b, key[i].Name)
	}
	return append(b, ']')
}

// appendData appends the values of data and before.
func appendData(b []byte, e *change.Entry) []byte {
	switch e.Op {
	case change.Insert:
		return appendRow(b, e.After)
	case change.Update:
		b = append(b, `{"where":`...)
		b = appendRow(b, e.Key)
		b = append(b, `,"data":`...)
		b = appendRow(b, e.After)
		b = append(b, `},"before":`...)
		return appendRow(b, e.Before)
	case change.Delete:
		b = append(b, `{"where":`...)
		b = appendRow(b, e.Key)
		b = append(b, `},"before":`...)
		return appendRow(b, e.Before)
	case change.Schema:
		b = append(b, `{"sql":`...)
		b = appendText(b, e.SQL)
		b = append(b, `,"settings":{"foreignKeys":`...)
		b = strconv.AppendBool(b, e.Settings.ForeignKeys)
		b = append(b, `,"legacyAlterTable":`...)
		b = strconv.AppendBool(b, e.Settings.LegacyAlterTable)
		b = append(b, `,"doubleQuotedDDL":`...)
		b = strconv.AppendBool(b, e.Settings.DoubleQuotedDDL)
		b = append(b, `,"doubleQuotedDML":`...)
		b = strconv.AppendBool(b, e.Settings.DoubleQuotedDML)
		return append(b, "}}"...)
	default: // Barrier
		b = append(b, `{"reason":`...)
		b = appendText(b, e.Reason)
		if e.Width() > 1 {
			b = append(b, `,"count":`...)
			b = strconv.AppendInt(b, e.Count, 10)
		}
		return append(b, '}')
	}
}

func isRowChange(op change.Op) bool {
	return op == change.Insert || op == change.Update || op == change.Delete
}

// checkEntry refuses what the format cannot represent, so that nothing is dropped
// silently.
func checkEntry(e *change.Entry) error {
	if e.Count != 0 && (e.Op != change.Barrier || e.Count < 2) {
		return fmt.Errorf("batch: a %s entry cannot stand for %d sequences", e.Op, e.Count)
	}
	switch e.Op {
	case change.Insert:
		if len(e.Before) > 0 {
			return errors.New("batch: an insert must not have a row before")
		}
		for i := range e.Key {
			if v := change.Find(e.After, e.Key[i].Name); v == nil || !v.Same(&e.Key[i].Value) {
				return fmt.Errorf("batch: the key column %q is not part of the inserted row", e.Key[i].Name)
			}
		}
	case change.Update:
	case change.Delete:
		if len(e.After) > 0 {
			return errors.New("batch: a delete must not have a row after")
		}
	case change.Schema, change.Barrier:
		if e.HasRowID || len(e.Key)+len(e.After)+len(e.Before) > 0 {
			return fmt.Errorf("batch: a %s entry has no row", e.Op)
		}
	default:
		return fmt.Errorf("batch: unknown operation %d", e.Op)
	}
	return nil
}

func appendRow(b []byte, row []change.Column) []byte {
	b = append(b, '{')
	for i := range row {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendName(b, row[i].Name)
		b = append(b, ':')
		b = appendValue(b, &row[i].Value)
	}
	return append(b, '}')
}

// textPrefix starts a column name in base64.
const textPrefix = "$text:"

// appendName appends a column name. SQLite takes any bytes for a name, but the
// key of a JSON object cannot be tagged like a value, so the tag is inside.
func appendName(b []byte, name string) []byte {
	if needsPrefix(name) {
		b = append(b, `"`+textPrefix...)
		b = base64.StdEncoding.AppendEncode(b, []byte(name))
		return append(b, '"')
	}
	b, _ = appendString(b, name)
	return b
}

func needsPrefix(name string) bool {
	return !utf8.ValidString(name) || len(name) >= len(textPrefix) && name[:len(textPrefix)] == textPrefix
}

func appendValue(b []byte, v *change.Value) []byte {
	switch v.Kind {
	case change.Integer:
		return appendInteger(b, v.Int)
	case change.Real:
		return appendReal(b, v.Real)
	case change.Text:
		return appendText(b, v.Bytes)
	case change.Blob:
		return appendBase64(b, `{"$blob":"`, v.Bytes)
	default:
		return append(b, "null"...)
	}
}

func appendInteger(b []byte, v int64) []byte {
	if -maxExact <= v && v <= maxExact {
		return strconv.AppendInt(b, v, 10)
	}
	b = append(b, `{"$int":"`...)
	b = strconv.AppendInt(b, v, 10)
	return append(b, `"}`...)
}

// appendReal appends the shortest number that reads back as v. SQLite has no
// NaN; it stores NULL.
func appendReal(b []byte, v float64) []byte {
	switch {
	case v == 0 && math.Signbit(v):
		return append(b, `{"$real":"-0.0"}`...)
	case math.IsInf(v, 1):
		return append(b, `{"$real":"Infinity"}`...)
	case math.IsInf(v, -1):
		return append(b, `{"$real":"-Infinity"}`...)
	case math.IsNaN(v):
		return append(b, "null"...)
	}
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(b, v, 'e', -1, 64) // the exponent marks it as a real
	}
	start := len(b)
	b = strconv.AppendFloat(b, v, 'f', -1, 64)
	for _, c := range b[start:] {
		if c == '.' {
			return b
		}
	}
	return append(b, ".0"...)
}

// appendText appends a JSON string, or the tagged form if s is not UTF-8.
func appendText[S string | []byte](b []byte, s S) []byte {
	b, ok := appendString(b, s)
	if !ok {
		b = appendBase64(b, `{"$text":"`, []byte(s))
	}
	return b
}

func appendBase64(b []byte, tag string, data []byte) []byte {
	b = append(b, tag...)
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, `"}`...)
}

// plain marks the bytes that stand for themselves in a JSON string: all but
// quotes, backslashes and control characters.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\' && c != 0x7f
	}
	return t
}()

// appendString appends a JSON string; false if s is not valid UTF-8.
func appendString[S string | []byte](b []byte, s S) ([]byte, bool) {
	b = append(b, '"')
	start := len(b)
	done := 0     // bytes of s appended so far
	var bits byte // of all bytes together: is any not ASCII?
	for i := range len(s) {
		c := s[i]
		bits |= c
		if !plain[c] {
			b = append(b, s[done:i]...)
			b = appendEscape(b, c)
			done = i + 1
		}
	}
	b = append(b, s[done:]...)
	if bits >= utf8.RuneSelf && !utf8.Valid(b[start:]) {
		return b[:start-1], false
	}
	return append(b, '"'), true
}

const hexDigits = "0123456789abcdef"

// escapes are the control characters with an escape of their own.
var escapes = [256]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

func appendEscape(b []byte, c byte) []byte {
	if e := escapes[c]; e != 0 {
		return append(b, '\\', e)
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
