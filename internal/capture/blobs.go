package capture

import (
	"bytes"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// blobs holds the rows that sqlite3_blob_write has changed since the last other
// change. The hook sees each write as a delete, without the new value. So we keep
// the row as it was before the first write, and read it again before anything else
// is logged or a savepoint begins.
type blobs struct {
	c     *sqlite.Conn
	own   *ownStatements
	rows  []blobRow
	seen  map[blobKey]bool // the keys of rows
	bytes int              // total size of the values in rows
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
	b.rows, b.bytes = b.rows[:0], 0
	clear(b.seen)
}

// empty reports whether there are no rows; size returns the bytes of their values.
func (b *blobs) empty() bool { return len(b.rows) == 0 }
func (b *blobs) size() int   { return b.bytes }

// has reports whether a row is kept.
func (b *blobs) has(table []byte, rowid int64) bool { return b.seen[blobKey{string(table), rowid}] }

// add keeps a row as it was before a write to one of its blobs.
func (b *blobs) add(table []byte, rowid int64, before [][]byte) {
	row := blobRow{blobKey{string(table), rowid}, before}
	for _, value := range before {
		b.bytes += len(value)
	}
	b.rows = append(b.rows, row)
	if b.seen == nil {
		b.seen = map[blobKey]bool{}
	}
	b.seen[row.blobKey] = true
}

// log appends the rows as updates, then forgets them.
func (b *blobs) log(to *buffer, tables *tables) error {
	for _, row := range b.rows {
		t, index, err := tables.find([]byte(row.table))
		if err == nil {
			err = b.logRow(to, t, index, row)
		}
		if err != nil {
			return err
		}
	}
	b.reset()
	return nil
}

func (b *blobs) logRow(to *buffer, t *table, index int, row blobRow) error {
	c := b.c
	st, err := c.Prepare("SELECT " + quoteAll(t.shape.Columns) + " FROM main." + sqlite.Quote(row.table) + " WHERE " + t.rowid + " = ?1")
	if err != nil {
		return err
	}
	defer st.Finalize()
	st.BindInt64(1, row.rowid)
	_, err = b.own.run(st, func(st *sqlite.Stmt) {
		entry := change.AppendUpdate(to.begin(), index, &t.shape, row.rowid, row.rowid)
		for _, k := range t.shape.Key {
			entry = append(entry, row.before[k]...)
		}
		bitmap := len(entry)
		entry = append(entry, make([]byte, (len(t.stored)+7)/8)...)
		for i, before := range row.before {
			after := appendValue(c.TLS, nil, lib.Xsqlite3_column_value(c.TLS, st.Handle(), int32(i)))
			if !bytes.Equal(before, after) {
				entry[bitmap+i/8] |= 1 << (i % 8)
				entry = append(append(entry, before...), after...)
			}
		}
		to.add(entry)
	})
	return err
}
