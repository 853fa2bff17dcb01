package capture

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// SQLite's callbacks know a connection by a number or by its handle.
var (
	recorders  sync.Map // id -> *recorder, for module.Create
	byHandle   sync.Map // sqlite3* -> *recorder, for preupdate
	recorderID atomic.Uint64
)

// ours is the prefix of DriftDB's own tables.
const ours = "_driftdb_"

// preupdate is SQLite's preupdate hook: it is called before each row change,
// and also for those made by triggers, foreign-key actions and REPLACE.
func preupdate(tls *libc.TLS, _, db uintptr, op int32, zDB, zTable uintptr, rowid, newRowid int64) {
	v, ok := byHandle.Load(db)
	if !ok {
		return
	}
	r := v.(*recorder)
	if r.inside || string(sqlite.CString(zDB)) != "main" {
		return
	}
	name := sqlite.CString(zTable)
	switch {
	case bytes.HasPrefix(name, []byte(ours)):
		r.begin()
		r.fail = errOwned
		return
	case bytes.HasPrefix(name, []byte("sqlite_schema")), bytes.HasPrefix(name, []byte("sqlite_master")):
		r.begin()
		r.barrier("the schema table was written directly (writable_schema)")
		return
	}
	if bytes.HasPrefix(name, []byte("sqlite_stat")) && (r.samples != nil && string(name) == sampleTable || r.aboutOurs(op)) {
		return // it is compared with what it was, or no data
	}
	r.begin()
	r.cascades(name)
	if r.shadow(name) {
		return
	}
	if r.over {
		return
	}
	if r.synced && r.c.Syncing() {
		r.fail = errors.New("capture: a virtual table changed a row after the changes had been written to _driftdb_log")
		return
	}
	if lib.Xsqlite3_preupdate_blobwrite(tls, db) >= 0 {
		r.writesBlob(name, rowid)
		r.trim()
		return
	}
	r.readBlobs() // before this change moves or deletes one of those rows
	if string(name) == change.SequenceTable {
		r.sequenceRow(op)
	} else {
		r.row(op, name, rowid, newRowid)
	}
	r.trim()
}

// begin enlists us with the first change of a transaction.
func (r *recorder) begin() {
	if r.level == 0 {
		r.enlist()
	}
}

// shadow deals with rows that another virtual table writes from inside its own
// methods: one of ours must come after it in the list of those that SQLite
// calls at commit. Rows that
// CREATE VIRTUAL TABLE itself makes are not logged, since its text makes them
// again; for those it returns true.
func (r *recorder) shadow(name []byte) bool {
	if !r.c.Nested() {
		return false
	}
	if r.making != nil && !r.making[string(name)] {
		return true
	}
	if r.c.Joined() > r.lastPos && !r.c.Syncing() {
		r.enlist()
	}
	return false
}

// writable returns the table whose row is about to change. If that cannot be
// logged it puts a barrier there, and returns nil.
func (r *recorder) writable(name []byte) (t *table, index int) {
	t, index = r.table(name)
	if r.fail != nil {
		return nil, 0
	}
	if t.lost != "" {
		r.barrier(t.lost)
		return nil, 0
	}
	if n := int(lib.Xsqlite3_preupdate_count(r.c.TLS, r.c.DB)); n != t.width {
		r.barrier("table " + t.shape.Table + " does not have the columns that its schema says")
		return nil, 0
	}
	return t, index
}

// row appends the entry of one row change.
func (r *recorder) row(op int32, name []byte, rowid, newRowid int64) {
	t, index := r.writable(name)
	if t == nil {
		return
	}
	if t.counted {
		r.changed[t.shape.Table] = true
	}
	switch op {
	case lib.SQLITE_INSERT:
		if !r.insert(t, index, newRowid) {
			r.barrier("INSERT INTO " + t.shape.Table + " SELECT copied rows that were older than a column with a default")
			return
		}
	case lib.SQLITE_DELETE:
		r.buf = change.AppendDelete(r.buf, index, &t.shape, rowid)
		for i, column := range t.stored {
			r.buf = r.appendColumn(r.buf, t.real[i], r.c.OldValue(column))
		}
	case lib.SQLITE_UPDATE:
		r.update(t, index, rowid, newRowid)
	}
	r.count++
}

// insert appends an inserted row. INSERT INTO x SELECT * FROM y copies whole
// records, and one that is older than an added column ends before it: the
// table then shows the column's default, which the hook does not know. For
// that insert returns false.
func (r *recorder) insert(t *table, index int, rowid int64) bool {
	b := change.AppendInsert(r.buf, index, &t.shape, rowid)
	for i, column := range t.stored {
		v := r.c.NewValue(column)
		if v == r.absent && t.filled[i] {
			return false
		}
		b = r.appendColumn(b, t.real[i], v)
	}
	r.buf = b
	return true
}

func (r *recorder) update(t *table, index int, rowid, newRowid int64) {
	b := change.AppendUpdate(r.buf, index, &t.shape, rowid, newRowid)
	// A row that gets another identity is another row to who reads the log:
	// its entry has every column.
	moved := t.rowid != "" && rowid != newRowid
	for _, k := range t.shape.Key {
		start := len(b)
		b = r.appendColumn(b, t.real[k], r.c.OldValue(t.stored[k]))
		if t.rowid == "" && !moved {
			end := len(b)
			b = r.appendColumn(b, t.real[k], r.c.NewValue(t.stored[k]))
			moved = !bytes.Equal(b[start:end], b[end:])
			b = b[:end]
		}
	}
	bitmap := len(b)
	for range (len(t.stored) + 7) / 8 {
		b = append(b, 0)
	}
	for i, column := range t.stored {
		start := len(b)
		b = r.appendColumn(b, t.real[i], r.c.OldValue(column))
		middle := len(b)
		b = r.appendColumn(b, t.real[i], r.c.NewValue(column))
		if !moved && bytes.Equal(b[start:middle], b[middle:]) {
			b = b[:start]
		} else {
			b[bitmap+i/8] |= 1 << (i % 8)
		}
	}
	r.buf = b
}

// appendColumn is appendValue for a column's value. SQLite keeps 5.0 in a
// column of REAL affinity as the integer 5 on disk, and shows the hook that.
func (r *recorder) appendColumn(b []byte, real bool, v uintptr) []byte {
	if real && v != 0 && lib.Xsqlite3_value_type(r.c.TLS, v) == lib.SQLITE_INTEGER {
		return change.AppendReal(b, lib.Xsqlite3_value_double(r.c.TLS, v))
	}
	return appendValue(r.c.TLS, b, v)
}

// appendValue encodes the sqlite3_value at v. Text is read as bytes: no
// conversion, no cut at a NUL.
func appendValue(tls *libc.TLS, b []byte, v uintptr) []byte {
	if v == 0 {
		return change.AppendNull(b)
	}
	switch t := lib.Xsqlite3_value_type(tls, v); t {
	case lib.SQLITE_INTEGER:
		return change.AppendInt(b, lib.Xsqlite3_value_int64(tls, v))
	case lib.SQLITE_FLOAT:
		return change.AppendReal(b, lib.Xsqlite3_value_double(tls, v))
	case lib.SQLITE_TEXT, lib.SQLITE_BLOB:
		k := change.Text
		if t == lib.SQLITE_BLOB {
			k = change.Blob
		}
		p := lib.Xsqlite3_value_blob(tls, v)
		return change.AppendBytes(b, k, sqlite.CBytes(p, int(lib.Xsqlite3_value_bytes(tls, v))))
	}
	return change.AppendNull(b)
}

func quoteAll(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = sqlite.Quote(n)
	}
	return strings.Join(q, ", ")
}
