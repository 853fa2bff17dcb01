package capture

import (
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// blobKey is a row that sqlite3_blob_write changed.
type blobKey struct {
	table string
	rowid int64
}

// readBlobs logs the rows that incremental blob I/O changed since the last
// call. The hook sees them as deletes, without the new value; so they are read
// again, as updates of every column whose earlier value is not known.
func (r *recorder) readBlobs() {
	if r.blobsRead == len(r.blobs) {
		return
	}
	for _, b := range r.blobs[r.blobsRead:] {
		r.readBlob(b)
	}
	r.blobsRead = len(r.blobs)
	r.trim()
}

func (r *recorder) readBlob(b blobKey) {
	t, index := r.table([]byte(b.table))
	if r.fail != nil || r.over {
		return
	}
	if t.lost != "" {
		r.barrier(t.lost)
		return
	}
	st, err := r.c.Prepare("SELECT " + quoteAll(t.shape.Columns) + " FROM main." + quote(b.table) + " WHERE " + t.rowid + " = ?1")
	if err != nil {
		r.fail = err
		return
	}
	defer st.Finalize()
	st.BindInt64(1, b.rowid)
	r.mustRun(st, func(st *sqlite.Stmt) {
		value := func(b []byte, i int) []byte {
			return appendValue(r.c.TLS, b, lib.Xsqlite3_column_value(r.c.TLS, st.Handle(), int32(i)))
		}
		r.buf = change.AppendUpdate(r.buf, index, &t.shape, b.rowid, b.rowid)
		for _, k := range t.shape.Key {
			r.buf = value(r.buf, k)
		}
		bitmap := len(r.buf)
		r.buf = append(r.buf, make([]byte, (len(t.stored)+7)/8)...)
		for i := range t.stored {
			r.buf[bitmap+i/8] |= 1 << (i % 8)
			r.buf = value(value(r.buf, i), i)
		}
		r.count++
	})
}
