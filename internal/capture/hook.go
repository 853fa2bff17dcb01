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

// SQLite's callbacks identify a connection by a number or by its handle.
var (
	recorders  sync.Map // id -> *recorder, for module.Create
	byHandle   sync.Map // sqlite3* -> *recorder, for preupdate
	recorderID atomic.Uint64
)

// ours is the prefix of DriftDB's own tables.
const ours = "_driftdb_"

// preupdate is SQLite's preupdate hook. It is called before each row change,
// including those made by triggers, foreign-key actions and REPLACE.
func preupdate(tls *libc.TLS, _, db uintptr, op int32, zDB, zTable uintptr, rowid, newRowid int64) {
	v, ok := byHandle.Load(db)
	if !ok {
		return
	}
	r := v.(*recorder)
	if r.own.active() || string(sqlite.CString(zDB)) != "main" {
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
		r.buffer.barrier("the schema table was written directly (writable_schema)")
		return
	}
	if bytes.HasPrefix(name, []byte("sqlite_stat")) && (r.samples != nil && string(name) == sampleTable || r.aboutOurs(op)) {
		return // logSamples logs these rows, or they are about our own tables
	}
	r.begin()
	r.cascade.changes(name)
	if r.shadow(name) || r.buffer.givenUp() {
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
	r.readBlobs() // before this change moves or deletes one of their rows
	if string(name) == change.SequenceTable {
		r.sequences.edit(op, &r.buffer)
	} else {
		r.row(op, name, rowid, newRowid)
	}
	r.trim()
}

// begin enlists our first virtual table at the first change of a transaction.
func (r *recorder) begin() {
	if !r.vtabs.enlisted() {
		r.enlist()
	}
}

// shadow handles rows that another virtual table writes from its own methods: one
// of ours must come after it in the order in which SQLite calls them at commit.
// It returns true for rows that CREATE VIRTUAL TABLE itself writes. These are not
// logged, because replaying the statement writes them again.
func (r *recorder) shadow(name []byte) bool {
	if !r.c.Nested() {
		return false
	}
	if r.vtabs.makes(name) {
		return true
	}
	if r.vtabs.behind(r.c.Joined()) && !r.c.Syncing() {
		r.enlist()
	}
	return false
}

// writable returns the table whose row is about to change. If the change cannot be
// logged, it adds a barrier and returns nil.
func (r *recorder) writable(name []byte) (t *table, index int) {
	t, index, err := r.tables.find(name)
	if r.failed(err) {
		return nil, 0
	}
	if t.lost != "" {
		r.buffer.barrier(t.lost)
		return nil, 0
	}
	if n := int(lib.Xsqlite3_preupdate_count(r.c.TLS, r.c.DB)); n != t.width {
		r.buffer.barrier("table " + t.shape.Table + " does not have the columns that its schema says")
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
		r.sequences.writes(t.shape.Table)
	}
	entry := r.buffer.begin()
	switch op {
	case lib.SQLITE_INSERT:
		var ok bool
		if entry, ok = r.values.appendInsert(entry, t, index, newRowid); !ok {
			r.buffer.barrier("INSERT INTO " + t.shape.Table + " SELECT copied rows that were older than a column with a default")
			return
		}
	case lib.SQLITE_DELETE:
		entry = r.values.appendDelete(entry, t, index, rowid)
	case lib.SQLITE_UPDATE:
		entry = r.values.appendUpdate(entry, t, index, rowid, newRowid)
	}
	r.buffer.add(entry)
}

// writesBlob keeps a row as it was before a write to one of its blobs.
func (r *recorder) writesBlob(name []byte, rowid int64) {
	if r.blobs.has(name, rowid) {
		return
	}
	if t, _ := r.writable(name); t != nil {
		r.blobs.add(name, rowid, r.values.old(t))
	}
}

// readBlobs logs the rows that incremental blob I/O changed since the last call.
func (r *recorder) readBlobs() {
	if !r.blobs.empty() && !r.failed(r.blobs.log(&r.buffer, &r.tables)) {
		r.trim()
	}
}

func quoteAll(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = sqlite.Quote(n)
	}
	return strings.Join(q, ", ")
}
