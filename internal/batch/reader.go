package batch

import (
	"bytes"
	"fmt"
	"io"

	"github.com/driftdb/driftdb-go/internal/change"
)

// Record is one entry of a batch, and where it stands.
type Record struct {
	Sequence int64
	Time     int64 // Unix milliseconds, the same for a whole transaction
	Tx       int64 // the sequence of the transaction's first entry
	First    bool  // of its transaction
	Last     bool  // of its transaction
	Entry    change.Entry
}

// End is the last sequence that the record stands for: Sequence, unless it is a
// barrier over a range.
func (r *Record) End() int64 { return r.Sequence + r.Entry.Width() - 1 }

// Reader reads one batch and verifies it on the way: sequences without a gap,
// whole transactions with one time each, the chain from prev to head. Of the batch
// it keeps one entry in memory.
//
// Records returned before an error are those of the batch as it was stored, but only
// the trailer proves that the batch is whole: until [io.EOF], treat them as unverified.
// A Reader is not safe for concurrent use.
type Reader struct {
	lines  lines
	scan   scanner
	header Header
	roll   roller
	rec    Record
	entry  []byte // rec's own JSON

	from, to int64 // see Only

	// The entry to come is parsed as far as its position, to know whether rec
	// is the last of its transaction. tx is 0 when the trailer comes.
	ahead   position
	aheadAt int // where the position ends in its line

	trailer Trailer // once Next has returned io.EOF
	err     error
}

// NewReader reads the header of a batch. Errors wrap ErrVersion, ErrCorrupt,
// or what src returned.
func NewReader(src io.Reader) (*Reader, error) {
	r := &Reader{lines: newLines(src, maxHeader)}
	line, err := r.lines.next()
	if err != nil {
		return nil, err
	}
	r.lines.limit = MaxEntry + len(",")
	r.scan.reset(line, 0)
	var version int64
	r.header, version = r.scan.header()
	switch {
	case !r.scan.ok():
		return nil, r.malformed()
	case version != Version:
		return nil, fmt.Errorf("%w: the batch has version %d, this program reads version %d; upgrade DriftDB", ErrVersion, version, Version)
	}
	r.roll = newRoller(r.header.Prev)
	if err := r.lookAhead(); err != nil {
		return nil, err
	}
	if err := r.checkOrder(position{sequence: r.header.From - 1}); err != nil {
		return nil, err
	}
	if r.ahead.tx == 0 {
		return nil, fmt.Errorf("%w: no entries", ErrCorrupt)
	}
	return r, nil
}

// Only makes Next decode only the entries at from and later, of transactions that begin at to
// or before; to 0 is no limit. The record of any other entry has no Entry, except that of a
// barrier, which may take several sequences. Everything is verified as before, and
// takes half of the time.
func (r *Reader) Only(from, to int64) { r.from, r.to = from, to }

// Header returns the batch's header.
func (r *Reader) Header() Header { return r.header }

// Chain returns the chain after the last transaction that Next has returned to
// its end.
func (r *Reader) Chain() Chain { return r.roll.chain }

// Trailer returns the batch's trailer. It is empty before Next has returned
// [io.EOF].
func (r *Reader) Trailer() Trailer { return r.trailer }

// Next returns the next entry, or [io.EOF] after the last one, once the
// trailer has been verified. The record and all it refers to, except strings,
// are valid until the next call. Errors wrap ErrCorrupt or what the source
// returned, and are sticky.
func (r *Reader) Next() (*Record, error) {
	if r.err == nil {
		r.err = r.next()
	}
	if r.err != nil {
		return nil, r.err
	}
	return &r.rec, nil
}

func (r *Reader) next() error {
	if r.ahead.tx == 0 {
		return r.finish()
	}
	line, err := r.lines.next()
	if err != nil {
		return err
	}
	pos, at := r.ahead, r.aheadAt
	if err := r.lookAhead(); err != nil {
		return err
	}
	if line, err = r.cutComma(line); err != nil {
		return err
	}
	r.rec.Sequence, r.rec.Time, r.rec.Tx = pos.sequence, pos.time, pos.tx
	r.rec.First, r.rec.Last = pos.tx == pos.sequence, r.ahead.tx != pos.tx
	if !r.decode(line, at, pos) {
		return r.malformed()
	}
	if r.rec.Entry.Width() > 1 && !(r.rec.First && r.rec.Last) {
		return fmt.Errorf("%w: line %d: a barrier for a range must be alone in its transaction", ErrCorrupt, r.lines.count)
	}
	pos.sequence = r.rec.End()
	if err := r.checkOrder(pos); err != nil {
		return err
	}
	r.entry = line
	r.advance()
	return nil
}

// decode decodes the entry at pos, unless Only excludes it.
func (r *Reader) decode(line []byte, at int, pos position) (ok bool) {
	e := &r.rec.Entry
	excluded := pos.sequence < r.from || r.to != 0 && pos.tx > r.to
	if excluded && !bytes.HasPrefix(line[at:], barrierFollows) {
		*e = change.Entry{Key: e.Key[:0], After: e.After[:0], Before: e.Before[:0]}
		return true
	}
	r.scan.reset(line, at)
	r.scan.entry(e)
	r.scan.end()
	return r.scan.ok()
}

// barrierFollows is what follows the position of a barrier.
var barrierFollows = []byte(`,"operation":"` + change.Barrier.String() + `"`)

// advance moves the chain over the current entry.
func (r *Reader) advance() {
	if r.rec.First {
		r.roll.begin()
	}
	r.roll.add(r.entry)
	if r.rec.Last {
		r.roll.end()
	}
}

// lookAhead reads the position of the entry in the line to come.
func (r *Reader) lookAhead() error {
	start := r.lines.peek()
	if len(start) > 0 && start[0] == ']' {
		r.lines.limit = maxTrailer
		r.ahead = position{}
		return nil
	}
	r.scan.reset(start, 0)
	r.ahead = r.scan.position()
	r.aheadAt = r.scan.i
	if !r.scan.ok() {
		if r.lines.err != nil && r.lines.err != io.EOF {
			return fmt.Errorf("batch: read line %d: %w", r.lines.count+1, r.lines.err)
		}
		r.lines.count++ // the line that is malformed
		return r.malformed()
	}
	return nil
}

// checkOrder reports whether what comes may follow an entry whose last sequence,
// time and transaction are pos.
func (r *Reader) checkOrder(pos position) error {
	next := r.ahead
	if next.tx == 0 { // the trailer
		r.ahead.sequence = pos.sequence + 1
		return nil
	}
	var wrong string
	switch {
	case next.sequence != pos.sequence+1:
		wrong = fmt.Sprintf("follows sequence %d", pos.sequence)
	case next.tx != next.sequence && (next.tx != pos.tx || pos.tx == 0):
		wrong = fmt.Sprintf("is in transaction %d", next.tx)
	case next.tx == pos.tx && next.time != pos.time:
		wrong = fmt.Sprintf("has time %d, its transaction %d", next.time, pos.time)
	default:
		return nil
	}
	return fmt.Errorf("%w: line %d: sequence %d %s", ErrCorrupt, r.lines.count+1, next.sequence, wrong)
}

// cutComma removes the comma that every entry but the last has.
func (r *Reader) cutComma(line []byte) ([]byte, error) {
	end := len(line) - 1
	if comma := end >= 0 && line[end] == ','; comma != (r.ahead.tx != 0) {
		return nil, fmt.Errorf("%w: line %d: missing or extra comma", ErrCorrupt, r.lines.count)
	} else if comma {
		return line[:end], nil
	}
	return line, nil
}

// finish verifies the trailer and that nothing follows.
func (r *Reader) finish() error {
	line, err := r.lines.next()
	if err != nil {
		return err
	}
	r.scan.reset(line, 0)
	t := r.scan.trailer()
	rest := r.lines.peek()
	switch {
	case !r.scan.ok():
		return r.malformed()
	case t.To != r.rec.End():
		return fmt.Errorf("%w: it ends at sequence %d but says %d", ErrCorrupt, r.rec.End(), t.To)
	case t.Head != r.roll.chain:
		return fmt.Errorf("%w: its entries give chain %s but it says %s", ErrCorrupt, r.roll.chain, t.Head)
	case len(rest) > 0:
		return fmt.Errorf("%w: data after the end", ErrCorrupt)
	case r.lines.err != io.EOF:
		return fmt.Errorf("batch: read the end of a batch: %w", r.lines.err)
	}
	r.trailer = t
	return io.EOF
}

// inside reports whether Next has returned a part of a transaction.
func (r *Reader) inside() bool { return r.rec.Sequence != 0 && !r.rec.Last }

func (r *Reader) malformed() error {
	return fmt.Errorf("%w: line %d, byte %d: want %s", ErrCorrupt, r.lines.count, r.scan.i+1, r.scan.want)
}
