package capture

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// A transaction's changes are buffered in chunks: a slice that grows to the
// hub's limit would be copied from one to the next, and the old ones would stay
// in memory until the collector comes.

// chunkSize is from which length on buf becomes a chunk.
const chunkSize = 1 << 20

// size is how many bytes of changes the transaction has so far.
func (r *recorder) size() int { return r.chunked + len(r.buf) }

// chunk puts buf aside when it is full.
func (r *recorder) chunk() {
	if len(r.buf) < chunkSize {
		return
	}
	r.chunks = append(r.chunks, r.buf)
	r.chunked += len(r.buf)
	r.buf = make([]byte, 0, chunkSize+chunkSize/16) // room for the entry that fills it
}

// cutBack takes back what came after the first n bytes.
func (r *recorder) cutBack(n int) {
	for r.chunked > n {
		last := len(r.chunks) - 1
		r.buf = r.chunks[last]
		r.chunked -= len(r.buf)
		r.chunks[last] = nil
		r.chunks = r.chunks[:last]
	}
	r.buf = r.buf[:n-r.chunked]
}

// dropChanges empties the buffer, and keeps a small one.
func (r *recorder) dropChanges() {
	if len(r.chunks) > 0 || cap(r.buf) > chunkSize {
		r.buf, r.chunks, r.chunked = nil, nil, 0
	}
	r.buf = r.buf[:0]
}

// bindChanges sets a parameter of the statement that inserts a log row to
// header and all that is buffered. When that is much, the row gets room only,
// and fillRow writes it: bound at once, there would be three of it in memory.
func (r *recorder) bindChanges(st *sqlite.Stmt, parameter int, header []byte) {
	if len(r.chunks) == 0 {
		st.BindBlobs(parameter, header, r.buf)
		return
	}
	st.BindZeroBlob(parameter, int64(len(header)+r.size()))
}

// fillRow writes header and the chunks into the log row.
func (r *recorder) fillRow(row int64, header []byte) error {
	if len(r.chunks) == 0 {
		return nil
	}
	w, err := r.c.OpenBlob("_driftdb_log", "data", row)
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	w.Write(header)
	for _, b := range r.chunks {
		w.Write(b)
	}
	w.Write(r.buf)
	if err := w.Close(); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	return nil
}
