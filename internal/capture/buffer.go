package capture

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// buffer holds the entries of one transaction, in chunks. A single slice that grows to the
// limit would be copied again and again, and the old arrays would stay in memory until the
// next garbage collection.
type buffer struct {
	limit    int      // in bytes
	newest   []byte   // the newest entries
	chunks   [][]byte // earlier entries
	chunked  int      // bytes in chunks
	count    int64    // number of entries
	barriers int64    // number of barriers among them
	reason   string   // of the last barrier
	marks    []mark   // of the savepoints, outermost first
	over     bool     // one barrier stands for the whole transaction
}

// mark is where a savepoint began.
type mark struct {
	len             int
	count, barriers int64
}

// chunkSize is the length at which newest becomes a chunk.
const chunkSize = 1 << 20

// size returns the size of the entries in bytes.
func (b *buffer) size() int { return b.chunked + len(b.newest) }

// entries returns the number of entries.
func (b *buffer) entries() int64 { return b.count }
func (b *buffer) empty() bool    { return b.count == 0 }

// givenUp reports whether one barrier stands for the whole transaction.
func (b *buffer) givenUp() bool { return b.over }

// begin returns the slice to append an entry to, for add. Without add, the entry is
// discarded.
func (b *buffer) begin() []byte { return b.newest }

// add stores the slice that begin returned, with one entry appended.
func (b *buffer) add(entry []byte) { b.addSome(entry, 1) }

func (b *buffer) addSome(entries []byte, n int64) {
	b.newest = entries
	b.count += n
}

// barrier records that the transaction holds a change that the log cannot describe.
func (b *buffer) barrier(reason string) {
	b.add(change.AppendBarrier(b.newest, reason))
	b.barriers++
	b.reason = reason
}

// barred reports whether there is a barrier.
func (b *buffer) barred() bool { return b.barriers > 0 }

// why returns the reason of the last barrier, or "".
func (b *buffer) why() string {
	if !b.barred() {
		return "" // a ROLLBACK TO may have removed the barrier that reason belongs to
	}
	return b.reason
}

// overflow makes newest a chunk if it is long enough. It returns the reason for a barrier
// if the entries, with more bytes that are still to be added, exceed the limit; else "".
func (b *buffer) overflow(more int) string {
	if len(b.newest) >= chunkSize {
		b.chunks = append(b.chunks, b.newest)
		b.chunked += len(b.newest)
		b.newest = make([]byte, 0, chunkSize+chunkSize/16) // room for the entry that fills it
	}
	if b.size()+more <= b.limit {
		return ""
	}
	return fmt.Sprintf("a transaction of more than %d MiB of changes", b.limit>>20)
}

// giveUp replaces all entries with one barrier for the whole transaction.
func (b *buffer) giveUp(reason string) {
	if b.over {
		return
	}
	b.over, b.count, b.barriers = true, 0, 0
	b.drop()
	b.marks = b.marks[:0]
	b.barrier(reason)
}

// savepoint records where savepoint i begins.
func (b *buffer) savepoint(i int) {
	for len(b.marks) <= i {
		b.marks = append(b.marks, mark{}) // opened before we enlisted: nothing was buffered yet
	}
	b.marks = b.marks[:i+1]
	b.marks[i] = mark{b.size(), b.count, b.barriers}
}

// rollbackTo removes the entries that came after savepoint i.
func (b *buffer) rollbackTo(i int) {
	if b.over {
		return // the barrier stays: it may stand for changes before the savepoint
	}
	var m mark
	if i >= 0 && i < len(b.marks) {
		m = b.marks[i]
	}
	if m.len <= b.size() {
		b.cutBack(m.len)
		b.count, b.barriers = m.count, m.barriers
	}
}

// cutBack removes everything after the first n bytes.
func (b *buffer) cutBack(n int) {
	for b.chunked > n {
		last := len(b.chunks) - 1
		b.newest = b.chunks[last]
		b.chunked -= len(b.newest)
		b.chunks[last] = nil
		b.chunks = b.chunks[:last]
	}
	b.newest = b.newest[:n-b.chunked]
}

// place is a position between two entries.
type place struct{ chunks, len int }

// end returns the place after the last entry.
func (b *buffer) end() place { return place{len(b.chunks), len(b.newest)} }

// move moves the entries after from to the earlier place to. It returns false unless both
// places are in the newest chunk.
func (b *buffer) move(from, to place) bool {
	if now := len(b.chunks); to.chunks != now || from.chunks != now {
		return false
	}
	moved := append([]byte(nil), b.newest[from.len:]...)
	copy(b.newest[to.len+len(moved):], b.newest[to.len:from.len])
	copy(b.newest[to.len:], moved)
	return true
}

// drop empties the buffer, and keeps its memory only if that is small.
func (b *buffer) drop() {
	if len(b.chunks) > 0 || cap(b.newest) > chunkSize {
		b.newest, b.chunks, b.chunked = nil, nil, 0
	}
	b.newest = b.newest[:0]
}

// reset prepares the buffer for another transaction.
func (b *buffer) reset() {
	b.drop()
	b.count, b.barriers, b.reason, b.marks, b.over = 0, 0, "", b.marks[:0], false
}

// bind sets a parameter of the statement that inserts a log row to header and all
// entries. If the entries are in chunks, it only reserves space in the row for fill to
// write: binding them would put three copies in memory.
func (b *buffer) bind(st *sqlite.Stmt, parameter int, header []byte) {
	if len(b.chunks) == 0 {
		st.BindBlobs(parameter, header, b.newest)
		return
	}
	st.BindZeroBlob(parameter, int64(len(header)+b.size()))
}

// fill writes header and the chunks into the log row.
func (b *buffer) fill(c *sqlite.Conn, row int64, header []byte) error {
	if len(b.chunks) == 0 {
		return nil
	}
	w, err := c.OpenBlob("_driftdb_log", "data", row)
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	w.Write(header)
	for _, chunk := range b.chunks {
		w.Write(chunk)
	}
	w.Write(b.newest)
	if err := w.Close(); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	return nil
}
