package sqlite

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"
)

// BlobWriter writes an existing blob, which already has its full length, piece by piece.
type BlobWriter struct {
	c    *Conn
	blob uintptr // the sqlite3_blob*
	cell uintptr // C memory for a piece
	at   int32
	rc   int32
}

// pieceSize is how much is handed to SQLite at a time.
const pieceSize = 64 << 10

// OpenBlob opens a blob of main for writing from its first byte.
func (c *Conn) OpenBlob(table, column string, row int64) (*BlobWriter, error) {
	names := [3]uintptr{}
	for i, name := range []string{"main", table, column} {
		z, err := libc.CString(name)
		if err != nil {
			return nil, err
		}
		defer libc.Xfree(c.TLS, z)
		names[i] = z
	}
	out := cmem.At[uintptr](c.cells)
	*out = 0
	if rc := lib.Xsqlite3_blob_open(c.TLS, c.DB, names[0], names[1], names[2], row, 1, c.cells); rc != lib.SQLITE_OK {
		return nil, c.Err(rc)
	}
	return &BlobWriter{c: c, blob: *out, cell: libc.Xmalloc(c.TLS, types.Size_t(pieceSize))}, nil
}

// Write writes the next bytes. Close reports any error.
func (w *BlobWriter) Write(b []byte) {
	for len(b) > 0 && w.rc == lib.SQLITE_OK {
		n := copy(CBytes(w.cell, pieceSize), b)
		w.rc = lib.Xsqlite3_blob_write(w.c.TLS, w.blob, w.cell, int32(n), w.at)
		w.at += int32(n)
		b = b[n:]
	}
}

// Close closes the blob and reports any write error.
func (w *BlobWriter) Close() error {
	err := w.c.Err(w.rc) // before closing the handle clears it
	libc.Xfree(w.c.TLS, w.cell)
	if rc := lib.Xsqlite3_blob_close(w.c.TLS, w.blob); err == nil {
		err = w.c.Err(rc)
	}
	return err
}
