package batch

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
)

// flushAt is how many bytes a Writer collects before it passes them on.
const flushAt = 64 << 10

var errClosed = errors.New("a batch is closed")

// Writer writes one batch. Transactions are given in order, each as Begin, one
// Add per entry, End. The first error is sticky: every later call returns it.
//
// A Writer keeps one entry and a small buffer in memory, whatever the size of
// the batch. It is not safe for concurrent use.
type Writer struct {
	w       io.Writer
	header  Header
	roll    roller
	buf     []byte
	flushed int64
	pos     position // of the entry to come; tx is 0 between transactions
	ranged  bool     // the transaction is a barrier that stands for a range
	digests digest.Report
	err     error
}

// NewWriter starts a batch on w. A header that cannot be written is reported
// by the first call that returns an error.
func NewWriter(w io.Writer, h Header) *Writer {
	bw := &Writer{w: w, header: h, roll: newRoller(h.Prev), pos: position{sequence: h.From}}
	bw.buf, bw.err = appendHeader(make([]byte, 0, 2*flushAt), h)
	return bw
}

func appendHeader(b []byte, h Header) ([]byte, error) {
	if h.From < 1 || h.From > maxExact || h.Epoch < 0 || h.Epoch > maxExact {
		return b, fmt.Errorf("a batch cannot start at sequence %d of epoch %d", h.From, h.Epoch)
	}
	b = append(b, `{"version":`...)
	b = strconv.AppendInt(b, Version, 10)
	b = append(b, `,"nodeId":`...)
	b, ok := appendString(b, h.NodeID)
	if !ok {
		return b, fmt.Errorf("batch: node id %q is not valid UTF-8", h.NodeID)
	}
	b = append(b, `,"epoch":`...)
	b = strconv.AppendInt(b, h.Epoch, 10)
	b = append(b, `,"fromSequence":`...)
	b = strconv.AppendInt(b, h.From, 10)
	b = append(b, `,"prev":"`...)
	b = append(b, h.Prev.String()...)
	return append(b, `","entries":[`...), nil
}

// Begin starts a transaction. first is the sequence of its first entry, which
// must follow the last one of the batch; time is in Unix milliseconds. It may be
// earlier than the previous transaction's, since clocks are sometimes set back.
func (w *Writer) Begin(first, time int64) error {
	if w.err == nil {
		w.err = w.begin(first, time)
	}
	return w.err
}

func (w *Writer) begin(first, time int64) error {
	switch {
	case w.pos.tx != 0:
		return fmt.Errorf("batch: transaction %d begins inside transaction %d", first, w.pos.tx)
	case first != w.pos.sequence:
		return fmt.Errorf("batch: transaction %d does not follow: the batch continues at sequence %d", first, w.pos.sequence)
	case time < -maxExact || time > maxExact:
		return fmt.Errorf("batch: transaction %d has time %d, which is out of range", first, time)
	}
	w.pos.tx, w.pos.time, w.ranged = first, time, false
	w.roll.begin()
	return nil
}

// Add appends an entry to the transaction. It keeps nothing of e. An entry
// larger than MaxEntry is ErrTooLarge.
func (w *Writer) Add(e *change.Entry) error {
	if w.err == nil {
		w.err = w.add(e)
	}
	return w.err
}

func (w *Writer) add(e *change.Entry) error {
	if w.pos.tx == 0 {
		return errors.New("batch: entry outside a transaction")
	}
	if w.ranged || e.Width() > 1 && w.pos.sequence != w.pos.tx {
		return errors.New("batch: a barrier for a range must be alone in its transaction")
	}
	w.ranged = e.Width() > 1
	w.separate()
	start := len(w.buf)
	var err error
	if w.buf, err = appendEntry(w.buf, w.pos, e); err != nil {
		return err
	}
	entry := w.buf[start:]
	if len(entry) > MaxEntry {
		return fmt.Errorf("%w: sequence %d in table %q takes %d bytes of at most %d", ErrTooLarge, w.pos.sequence, e.Table, len(entry), MaxEntry)
	}
	w.roll.add(entry)
	return w.next(e.Width())
}

// separate ends the line before an entry.
func (w *Writer) separate() {
	if w.pos.sequence > w.header.From {
		w.buf = append(w.buf, ',')
	}
	w.buf = append(w.buf, '\n')
}

// next moves on after an entry that takes width sequence numbers.
func (w *Writer) next(width int64) error {
	if width > maxExact-w.pos.sequence {
		return errors.New("batch: no sequence numbers left")
	}
	w.pos.sequence += width
	if len(w.buf) < flushAt {
		return nil
	}
	return w.flush()
}

func (w *Writer) flush() error {
	n, err := w.w.Write(w.buf)
	w.flushed += int64(n)
	if err != nil {
		return fmt.Errorf("batch: write batch: %w", err)
	}
	w.buf = w.buf[:0]
	return nil
}

// End ends the transaction, which must have an entry.
func (w *Writer) End() error {
	if w.err == nil {
		w.err = w.end()
	}
	return w.err
}

func (w *Writer) end() error {
	if w.pos.tx == 0 || w.pos.sequence == w.pos.tx {
		return errors.New("batch: end of a transaction without entries")
	}
	w.roll.end()
	w.pos.tx = 0
	return nil
}

// Copy appends all remaining transactions of r, byte for byte, and verifies them to
// the end. r must continue the batch: same node, same epoch, next sequence, same
// chain.
func (w *Writer) Copy(r *Reader) error {
	if w.err == nil {
		w.err = w.copy(r)
	}
	return w.err
}

func (w *Writer) copy(r *Reader) error {
	switch h := r.Header(); {
	case w.pos.tx != 0 || r.inside():
		return errors.New("batch: copy inside a transaction")
	case h.NodeID != w.header.NodeID || h.Epoch != w.header.Epoch:
		return fmt.Errorf("batch: cannot merge a batch of node %q, epoch %d into one of node %q, epoch %d", h.NodeID, h.Epoch, w.header.NodeID, w.header.Epoch)
	case r.ahead.sequence != w.pos.sequence || r.Chain() != w.roll.chain:
		return fmt.Errorf("a batch that continues at sequence %d, chain %s does not follow sequence %d, chain %s", r.ahead.sequence, r.Chain(), w.pos.sequence-1, w.roll.chain)
	}
	for {
		rec, err := r.Next()
		if err == io.EOF {
			w.roll.chain = r.Chain()
			return nil
		}
		if err != nil {
			return err
		}
		w.separate()
		w.buf = append(w.buf, r.entry...)
		if err := w.next(rec.Entry.Width()); err != nil {
			return err
		}
	}
}

// Size returns the number of bytes of JSON so far, without the trailer.
func (w *Writer) Size() int64 { return w.flushed + int64(len(w.buf)) }

// Chain returns the chain after the last transaction that was ended.
func (w *Writer) Chain() Chain { return w.roll.chain }

// SetDigests sets the trailer's digests of tables after the last transaction. Close
// uses the report, which is not copied.
func (w *Writer) SetDigests(r digest.Report) { w.digests = r }

// Close writes the trailer. The batch must have at least one transaction. It
// does not close the underlying writer.
func (w *Writer) Close() (Trailer, error) {
	if w.err != nil {
		return Trailer{}, w.err
	}
	t := Trailer{To: w.pos.sequence - 1, Head: w.roll.chain, Digests: w.digests}
	switch {
	case w.pos.tx != 0:
		w.err = fmt.Errorf("batch: batch closed inside transaction %d", w.pos.tx)
	case t.To < w.header.From:
		w.err = errors.New("batch: batch without transactions")
	default:
		w.buf = appendTrailer(append(w.buf, '\n'), t)
		w.err = w.flush()
	}
	if w.err != nil {
		return Trailer{}, w.err
	}
	w.err = errClosed
	return t, nil
}

func appendTrailer(b []byte, t Trailer) []byte {
	b = append(b, `],"toSequence":`...)
	b = strconv.AppendInt(b, t.To, 10)
	if len(t.Digests) > 0 {
		b = append(b, `,"digests":`...)
		b = appendDigests(b, t.Digests)
	}
	b = append(b, `,"head":"`...)
	b = append(b, t.Head.String()...)
	return append(b, "\"}\n"...)
}

// appendDigests appends an object whose tables are in byte order.
func appendDigests(b []byte, r digest.Report) []byte {
	sep := byte('{')
	for _, table := range slices.Sorted(maps.Keys(r)) {
		b = append(b, sep)
		b = appendName(b, table)
		if sum := r[table]; sum != nil {
			b = append(b, `:"`...)
			b = append(b, sum.String()...)
			b = append(b, '"')
		} else {
			b = append(b, ":null"...)
		}
		sep = ','
	}
	return append(b, '}')
}
