package capture

import (
	"bytes"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// blobs are the rows that sqlite3_blob_write has changed since the last other
// change. The hook sees each write as a delete, without the new value: so what
// the row held before the first one is kept, and the row is read again before
// anything else is logged or a savepoint begins.
type blobs struct {
	rows []blobRow
	seen map[blobKey]bool // which rows those are
	size int              // bytes of their values
}

type blobKey struct {
	table string
	rowid int64
}

type blobRow struct {
	blobKey
	before [][]byte // every column's encoded value
}

func (b *blobs) reset() {
	clear(b.rows)
	b.rows, b.size = b.rows[:0], 0
	clear(b.seen)
}

// writesBlob notes a row before a write to one of its blobs.
func (r *recorder) writesBlob(name []byte, rowid int64) {
	key := blobKey{string(name), rowid}
	if r.blobs.seen[key] {
		return
	}
	t, _ := r.writable(name)
	if t == nil {
		return
	}
	row := blobRow{key, make([][]byte, len(t.stored))}
	for i, column := range t.stored {
		row.before[i] = r.appendColumn(nil, t.real[i], r.c.OldValue(column))
		r.blobs.size += len(row.before[i])
	}
	r.blobs.rows = append(r.blobs.rows, row)
	if r.blobs.seen == nil {
		r.blobs.seen = map[blobKey]bool{}
	}
	r.blobs.seen[key] = true
}

// readBlobs logs the rows that incremental blob I/O changed since the last
// call, as updates.
func (r *recorder) readBlobs() {
	if len(r.blobs.rows) == 0 {
		return
	}
	for _, row := range r.blobs.rows {
		r.readBlob(row)
	}
	r.blobs.reset()
	r.trim()
}

func (r *recorder) readBlob(row blobRow) {
	t, index := r.table([]byte(row.table))
	if r.fail != nil || r.over {
		return
	}
	st, err := r.c.Prepare("SELECT " + quoteAll(t.shape.Columns) + " FROM main." + sqlite.Quote(row.table) + " WHERE " + t.rowid + " = ?1")
	if err != nil {
		r.fail = err
		return
	}
	defer st.Finalize()
	st.BindInt64(1, row.rowid)
	r.mustRun(st, func(st *sqlite.Stmt) {
		b := change.AppendUpdate(r.buf, index, &t.shape, row.rowid, row.rowid)
		for _, k := range t.shape.Key {
			b = append(b, row.before[k]...)
		}
		bitmap := len(b)
		b = append(b, make([]byte, (len(t.stored)+7)/8)...)
		for i, before := range row.before {
			after := appendValue(r.c.TLS, nil, lib.Xsqlite3_column_value(r.c.TLS, st.Handle(), int32(i)))
			if !bytes.Equal(before, after) {
				b[bitmap+i/8] |= 1 << (i % 8)
				b = append(append(b, before...), after...)
			}
		}
		r.buf = b
		r.count++
	})
}
