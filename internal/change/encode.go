package change

import (
	"encoding/binary"
	"math"
)

// The data column of a log row is
//
//	version  1 byte, 1
//	shapes   uvarint count, then uvarint numbers of _driftdb_shape
//	entries  up to the end
//
// Each entry starts with its kind, one byte, as below. A row's shape is its uvarint
// index in the shapes list, rowids are signed varints, and a string is a uvarint
// length and the bytes. Only rows of tables whose Shape has RowID carry a rowid.
const (
	formatVersion = 1

	kindInsert      = 1 // shape [rowid] value…                   every column
	kindUpdate      = 2 // shape [rowid newRowid-rowid] value… bitmap (old new)…
	kindDelete      = 3 // shape [rowid] value…                   every column
	kindSchema      = 4 // settings, 1 byte; statement
	kindBarrier     = 5 // reason
	kindSequence    = 6 // table, signed varint: sqlite_sequence has this value for it
	kindSequenceEnd = 7 // table: sqlite_sequence has no row for it
	kindRange       = 8 // uvarint count, at least 2; reason: a barrier for count sequence numbers
)

// A value is one byte for its kind, followed by nothing for NULL, a signed varint
// for INTEGER, 8 bytes little-endian for REAL, or a uvarint length and the bytes
// for TEXT and BLOB.

// AppendValue appends the encoding of v.
func AppendValue(b []byte, v Value) []byte {
	switch v.Kind {
	case Integer:
		return AppendInt(b, v.Int)
	case Real:
		return AppendReal(b, v.Real)
	case Text, Blob:
		return AppendBytes(b, v.Kind, v.Bytes)
	}
	return AppendNull(b)
}

// AppendNull appends a NULL.
func AppendNull(b []byte) []byte { return append(b, byte(Null)) }

// AppendInt appends an INTEGER.
func AppendInt(b []byte, v int64) []byte {
	return binary.AppendVarint(append(b, byte(Integer)), v)
}

// AppendReal appends a REAL.
func AppendReal(b []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(append(b, byte(Real)), math.Float64bits(v))
}

// AppendBytes appends a TEXT or BLOB.
func AppendBytes(b []byte, k Kind, v []byte) []byte {
	return append(binary.AppendUvarint(append(b, byte(k)), uint64(len(v))), v...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendHeader starts a log row's data.
func AppendHeader(b []byte, shapes []int64) []byte {
	b = append(b, formatVersion)
	b = binary.AppendUvarint(b, uint64(len(shapes)))
	for _, id := range shapes {
		b = binary.AppendUvarint(b, uint64(id))
	}
	return b
}

// AppendInsert starts an insert; the values of all columns follow.
func AppendInsert(b []byte, shape int, s *Shape, rowid int64) []byte {
	b = binary.AppendUvarint(append(b, kindInsert), uint64(shape))
	if s.RowID {
		b = binary.AppendVarint(b, rowid)
	}
	return b
}

// AppendDelete starts a delete; the values of all columns follow.
func AppendDelete(b []byte, shape int, s *Shape, rowid int64) []byte {
	b = binary.AppendUvarint(append(b, kindDelete), uint64(shape))
	if s.RowID {
		b = binary.AppendVarint(b, rowid)
	}
	return b
}

// AppendUpdate starts an update. The old values of the key's columns follow, then a
// bitmap of the changed columns (bit i%8 of byte i/8), then the old and the new value
// of each changed column.
func AppendUpdate(b []byte, shape int, s *Shape, rowid, newRowid int64) []byte {
	b = binary.AppendUvarint(append(b, kindUpdate), uint64(shape))
	if s.RowID {
		b = binary.AppendVarint(b, rowid)
		b = binary.AppendVarint(b, newRowid-rowid)
	}
	return b
}

// AppendSchema appends a schema statement.
func AppendSchema(b []byte, sql string, s Settings) []byte {
	var f byte
	for i, on := range []bool{s.ForeignKeys, s.LegacyAlterTable, s.DoubleQuotedDDL, s.DoubleQuotedDML} {
		if on {
			f |= 1 << i
		}
	}
	return appendString(append(b, kindSchema, f), sql)
}

// AppendBarrier appends a barrier.
func AppendBarrier(b []byte, reason string) []byte {
	return appendString(append(b, kindBarrier), reason)
}

// AppendBarrierRange appends a barrier that stands for count sequence numbers,
// two or more. It is the only entry of its transaction.
func AppendBarrierRange(b []byte, count int64, reason string) []byte {
	return appendString(binary.AppendUvarint(append(b, kindRange), uint64(count)), reason)
}

// AppendSequence appends that sqlite_sequence holds seq for table.
func AppendSequence(b []byte, table string, seq int64) []byte {
	return binary.AppendVarint(appendString(append(b, kindSequence), table), seq)
}

// AppendSequenceEnd appends that sqlite_sequence has no row for table.
func AppendSequenceEnd(b []byte, table string) []byte {
	return appendString(append(b, kindSequenceEnd), table)
}
