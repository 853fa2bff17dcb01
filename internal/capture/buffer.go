package capture

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// buffer has the entries of one transaction. They are in chunks: a slice that grows to
// the limit would be copied from one to the next, and the old ones would stay in memory
// until the collector comes.
type buffer struct {
	limit    int      // of bytes
	newest   []byte   // the newest entries
	chunks   [][]byte // those before
	chunked  int      // bytes in chunks
	count    int64    // entries in all of these
	barriers int64    // among them
	reason   string   // of the last barrier
	marks    []mark   // of the savepoints, outermost first
	over     bool     // a barrier stands for the whole transaction
}

// mark is where a savepoint began.
type mark struct {
	len             int
	count, barriers int64
}

// chunkSize is from which length on newest becomes a chunk.
const chunkSize = 1 << 20

// size is how many bytes of entries there are.
func (b *buffer) size() int { return b.chunked + len(b.newest) }

// entries is how many there are.
func (b *buffer) entries() int64 { return b.count }
func (b *buffer) empty() bool    { return b.count == 0 }

// givenUp says that one barrier stands for all of the transaction.
func (b *buffer) givenUp() bool { return b.over }

// begin returns the bytes to which an entry is appended, which add then takes. An entry
// that is not added has not been.
func (b *buffer) begin() []byte { return b.newest }

// add takes what begin returned, with one entry more.
func (b *buffer) add(entry []byte) { b.addSome(entry, 1) }

func (b *buffer) addSome(entries []byte, n int64) {
	b.newest = entries
	b.count += n
}

// barrier notes that the transaction holds something that the log cannot say.
func (b *buffer) barrier(reason string) {
	b.add(change.AppendBarrier(b.newest, reason))
	b.barriers++
	b.reason = reason
}

// barred says whether there is a barrier.
func (b *buffer) barred() bool { return b.barriers > 0 }

// why is the reason of the last barrier, or "".
func (b *buffer) why() string {
	if !b.barred() {
		return "" // reason is that of a barrier which a ROLLBACK TO took back
	}
	return b.reason
}

// overflow puts newest aside when it is a chunk. It is the reason of a barrier if the
// entries, with more bytes that will be some, are beyond the limit; or "".
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

// giveUp makes a barrier stand for all of the transaction.
func (b *buffer) giveUp(reason string) {
	if b.over {
		return
	}
	b.over, b.count, b.barriers = true, 0, 0
	b.drop()
	b.marks = b.marks[:0]
	b.barrier(reason)
}

// savepoint notes where savepoint i begins.
func (b *buffer) savepoint(i int) {
	for len(b.marks) <= i {
		b.marks = append(b.marks, mark{}) // opened before we were enlisted: nothing was buffered
	}
	b.marks = b.marks[:i+1]
	b.marks[i] = mark{b.size(), b.count, b.barriers}
}

// rollbackTo takes back what came after savepoint i.
func (b *buffer) rollbackTo(i int) {
	if b.over {
		return // the barrier stays: what it stands for is not known
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

// cutBack takes back what came after the first n bytes.
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

// place is one between two entries.
type place struct{ chunks, len int }

// end is the place behind the last entry.
func (b *buffer) end() place { return place{len(b.chunks), len(b.newest)} }

// move puts the entries from one place to the end at an earlier place. It returns false
// if they are not in one chunk any more.
func (b *buffer) move(from, to place) bool {
	if now := len(b.chunks); to.chunks != now || from.chunks != now {
		return false
	}
	moved := append([]byte(nil), b.newest[from.len:]...)
	copy(b.newest[to.len+len(moved):], b.newest[to.len:from.len])
	copy(b.newest[to.len:], moved)
	return true
}

// drop empties the buffer, and keeps a small one.
func (b *buffer) drop() {
	if len(b.chunks) > 0 || cap(b.newest) > chunkSize {
		b.newest, b.chunks, b.chunked = nil, nil, 0
	}
	b.newest = b.newest[:0]
}

// reset makes the buffer that of another transaction.
func (b *buffer) reset() {
	b.drop()
	b.count, b.barriers, b.reason, b.marks, b.over = 0, 0, "", b.marks[:0], false
}

// bind sets a parameter of the statement that inserts a log row to header and all
// entries. When that is much, the row gets room only, and fill writes it: bound at once,
// there would be three of it in memory.
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
