package capture

import (
	"bytes"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// values encodes the row that the preupdate hook is called for.
type values struct {
	c      *sqlite.Conn
	absent uintptr // the sqlite3_value that SQLite returns for a column beyond a record's end
}

func valuesOf(c *sqlite.Conn) values {
	return values{c, lib.Xsqlite3_column_value(c.TLS, 0, 0)}
}

// appendInsert appends an inserted row. INSERT INTO x SELECT * FROM y copies whole
// records, and a record that is older than an added column ends before that column.
// A query returns the column's default, but the hook does not see it; in that case
// appendInsert returns false.
func (v *values) appendInsert(b []byte, t *table, index int, rowid int64) (_ []byte, ok bool) {
	b = change.AppendInsert(b, index, &t.shape, rowid)
	for i, column := range t.stored {
		value := v.c.NewValue(column)
		if value == v.absent && t.filled[i] {
			return nil, false
		}
		b = v.appendColumn(b, t.real[i], value)
	}
	return b, true
}

func (v *values) appendDelete(b []byte, t *table, index int, rowid int64) []byte {
	b = change.AppendDelete(b, index, &t.shape, rowid)
	for i, column := range t.stored {
		b = v.appendColumn(b, t.real[i], v.c.OldValue(column))
	}
	return b
}

func (v *values) appendUpdate(b []byte, t *table, index int, rowid, newRowid int64) []byte {
	b = change.AppendUpdate(b, index, &t.shape, rowid, newRowid)
	// An update that changes a row's identity looks like a different row to a
	// reader of the log, so its entry has every column.
	moved := t.rowid != "" && rowid != newRowid
	for _, k := range t.shape.Key {
		start := len(b)
		b = v.appendColumn(b, t.real[k], v.c.OldValue(t.stored[k]))
		if t.rowid == "" && !moved {
			end := len(b)
			b = v.appendColumn(b, t.real[k], v.c.NewValue(t.stored[k]))
			moved = !bytes.Equal(b[start:end], b[end:])
			b = b[:end]
		}
	}
	bitmap := len(b)
	for range (len(t.stored) + 7) / 8 {
		b = append(b, 0)
	}
	for i, column := range t.stored {
		start := len(b)
		b = v.appendColumn(b, t.real[i], v.c.OldValue(column))
		middle := len(b)
		b = v.appendColumn(b, t.real[i], v.c.NewValue(column))
		if !moved && bytes.Equal(b[start:middle], b[middle:]) {
			b = b[:start]
		} else {
			b[bitmap+i/8] |= 1 << (i % 8)
		}
	}
	return b
}

// old returns the row as it was: the encoded value of each column.
func (v *values) old(t *table) [][]byte {
	row := make([][]byte, len(t.stored))
	for i, column := range t.stored {
		row[i] = v.appendColumn(nil, t.real[i], v.c.OldValue(column))
	}
	return row
}

// appendColumn is appendValue for a column's value. In a column of REAL affinity,
// SQLite stores 5.0 as the integer 5, and passes the hook that integer.
func (v *values) appendColumn(b []byte, real bool, value uintptr) []byte {
	if real && value != 0 && lib.Xsqlite3_value_type(v.c.TLS, value) == lib.SQLITE_INTEGER {
		return change.AppendReal(b, lib.Xsqlite3_value_double(v.c.TLS, value))
	}
	return appendValue(v.c.TLS, b, value)
}

// appendValue encodes the sqlite3_value at v. It reads text as bytes, without
// conversion and without stopping at a NUL.
func appendValue(tls *libc.TLS, b []byte, v uintptr) []byte {
	if v == 0 {
		return change.AppendNull(b)
	}
	switch t := lib.Xsqlite3_value_type(tls, v); t {
	case lib.SQLITE_INTEGER:
		return change.AppendInt(b, lib.Xsqlite3_value_int64(tls, v))
	case lib.SQLITE_FLOAT:
		return change.AppendReal(b, lib.Xsqlite3_value_double(tls, v))
	case lib.SQLITE_TEXT, lib.SQLITE_BLOB:
		k := change.Text
		if t == lib.SQLITE_BLOB {
			k = change.Blob
		}
		p := lib.Xsqlite3_value_blob(tls, v)
		return change.AppendBytes(b, k, sqlite.CBytes(p, int(lib.Xsqlite3_value_bytes(tls, v))))
	}
	return change.AppendNull(b)
}

// valueText reads the sqlite3_value at v as text.
func valueText(tls *libc.TLS, v uintptr) string {
	return string(sqlite.CBytes(lib.Xsqlite3_value_text(tls, v), int(lib.Xsqlite3_value_bytes(tls, v))))
}
