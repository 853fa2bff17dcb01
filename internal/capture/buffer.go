package capture

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"
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
	w, err := r.openRow(row)
	if err != nil {
		return err
	}
	w.write(header)
	for _, b := range r.chunks {
		w.write(b)
	}
	w.write(r.buf)
	return w.close()
}

// rowWriter writes the data of a log row, piece by piece.
type rowWriter struct {
	r    *recorder
	blob uintptr // the sqlite3_blob*
	cell uintptr // C memory for a piece
	at   int32
	rc   int32
}

// pieceSize is how much is handed to SQLite at a time.
const pieceSize = 64 << 10

func (r *recorder) openRow(row int64) (*rowWriter, error) {
	names := [3]uintptr{}
	for i, name := range []string{"main", "_driftdb_log", "data"} {
		z, err := libc.CString(name)
		if err != nil {
			return nil, err
		}
		defer libc.Xfree(r.c.TLS, z)
		names[i] = z
	}
	out := sqlite.At[uintptr](r.value)
	*out = 0
	if rc := lib.Xsqlite3_blob_open(r.c.TLS, r.c.DB, names[0], names[1], names[2], row, 1, r.value); rc != lib.SQLITE_OK {
		return nil, fmt.Errorf("capture: %w", r.c.Err(rc))
	}
	return &rowWriter{r: r, blob: *out, cell: libc.Xmalloc(r.c.TLS, types.Size_t(pieceSize))}, nil
}

func (w *rowWriter) write(b []byte) {
	for len(b) > 0 && w.rc == lib.SQLITE_OK {
		n := copy(sqlite.CBytes(w.cell, pieceSize), b)
		w.rc = lib.Xsqlite3_blob_write(w.r.c.TLS, w.blob, w.cell, int32(n), w.at)
		w.at += int32(n)
		b = b[n:]
	}
}

func (w *rowWriter) close() error {
	var err error
	if w.rc != lib.SQLITE_OK {
		err = fmt.Errorf("capture: %w", w.r.c.Err(w.rc)) // before the handle's end takes it away
	}
	libc.Xfree(w.r.c.TLS, w.cell)
	if rc := lib.Xsqlite3_blob_close(w.r.c.TLS, w.blob); rc != lib.SQLITE_OK && err == nil {
		err = fmt.Errorf("capture: %w", w.r.c.Err(rc))
	}
	return err
}
