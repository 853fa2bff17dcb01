// Package batch writes and reads batches: runs of committed transactions as
// JSON.
//
// A batch is one JSON document, laid out in lines so that it can be written
// and read as a stream. The first line is the header, then comes one line per
// entry, and the last line is the trailer:
//
//	{"version":1,"nodeId":"n","epoch":5,"fromSequence":1,"prev":"<hex>","entries":[
//	{"sequence":1,"timestamp":1704067200000,"tx":1,"table":"users","operation":"insert","rowid":1,"key":["id"],"data":{"id":"u1","name":"Alice"}},
//	{"sequence":2,"timestamp":1704067200000,"tx":1,"table":"users","operation":"update","rowid":1,"data":{"where":{"id":"u1"},"data":{"name":"Al"}},"before":{"name":"Alice"}}
//	],"toSequence":2,"head":"<hex>"}
//
// The encoding is canonical: the same transactions always give the same bytes, and a
// [Reader] accepts only what a [Writer] writes, so that any alteration on the way is
// noticed. testdata has frozen examples.
//
// Values keep their SQLite storage class. Integers within ±2^53 and finite
// reals are numbers, a real always with a point or an exponent. What JSON
// cannot say is tagged: {"$int":"9007199254740993"}, {"$real":"Infinity"},
// {"$real":"-Infinity"}, {"$real":"-0.0"}, {"$blob":"<base64>"}, and
// {"$text":"<base64>"} for text that is not UTF-8.
//
// prev and head are a [Chain]: they tie every transaction to all before it. The
// trailer may also have the digests of tables at the end, see package digest:
//
//	],"toSequence":2,"digests":{"logins":null,"users":"<hex>"},"head":"<hex>"}
package batch

import (
	"errors"

	"github.com/driftdb/driftdb-go/internal/digest"
)

// Version is the format version that this package writes, and the only one
// that it reads.
const Version = 1

// MaxEntry is the size, in bytes of JSON, of the largest entry that a batch
// can hold: 512 MiB. It bounds what a reader has to keep in memory, and is
// ample for a transaction of 64 MiB even if every byte must be escaped.
const MaxEntry = 512 << 20

// The limits for the two lines that are not entries: ample for a name, and for the
// digests of as many tables as a schema of some 10 MiB can have.
const (
	maxHeader  = 64 << 10
	maxTrailer = 64 << 20
)

// maxExact bounds the integers that every JSON reader represents exactly, and so
// sequences and times.
const maxExact = 1 << 53

var (
	// ErrCorrupt means that a batch is not what a Writer wrote: it is damaged,
	// truncated, altered, or out of order. The message has the line.
	ErrCorrupt = errors.New("a batch is corrupt")
	// ErrVersion means that a batch has a format version other than Version.
	ErrVersion = errors.New("batch: unknown batch version")
	// ErrTooLarge means that an entry is larger than MaxEntry.
	ErrTooLarge = errors.New("batch: entry is too large")
)

// Header precedes the entries of a batch.
type Header struct {
	NodeID string // the node that committed the transactions; UTF-8
	Epoch  int64  // the epoch under which the batch is uploaded
	From   int64  // the sequence of the first entry, from 1
	Prev   Chain  // the chain before the first transaction
}

// Trailer follows the entries of a batch.
type Trailer struct {
	To   int64 // the sequence of the last entry
	Head Chain // the chain after the last transaction

	// Digests is what the writer knew about the tables after the last transaction;
	// it may be nil. It is not part of the chain, so it can be left out, or
	// recomputed, when batches are merged.
	Digests digest.Report
}
