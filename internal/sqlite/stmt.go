package sqlite

import (
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"
)

// Stmt is a prepared statement. Parameters count from 1, columns from 0.
//
// A value that cannot be bound (too large, no such parameter) makes the next Step fail.
type Stmt struct {
	c     *Conn
	p     uintptr
	query string
	arena arena
	err   error // of a bind
	inUse bool
}

// maxCached bounds a connection's statement cache. When it is full, a statement that is not in
// use makes room.
const maxCached = 256

// Prepare compiles query, which must be a single statement.
func (c *Conn) Prepare(query string) (*Stmt, error) {
	st, tail, err := c.PrepareTail(query)
	if err != nil {
		return nil, err
	}
	if st == nil || strings.Trim(tail, "; \t\r\n") != "" {
		if st != nil {
			st.Finalize()
		}
		return nil, fmt.Errorf("sqlite: exactly one statement is wanted: %.80q", query)
	}
	return st, nil
}

// PrepareTail compiles the first statement of script and returns the rest. The statement is
// nil if script has none (only spaces or comments).
func (c *Conn) PrepareTail(script string) (*Stmt, string, error) {
	z, err := libc.CString(script)
	if err != nil {
		return nil, "", err
	}
	defer libc.Xfree(c.TLS, z)
	out, tail := c.cells, c.cells+8
	*cmem.At[uintptr](out), *cmem.At[uintptr](tail) = 0, 0
	rc := lib.Xsqlite3_prepare_v3(c.TLS, c.DB, z, -1, lib.SQLITE_PREPARE_PERSISTENT, out, tail)
	if rc != lib.SQLITE_OK {
		return nil, "", c.Err(rc)
	}
	p, n := *cmem.At[uintptr](out), int(*cmem.At[uintptr](tail)-z)
	if p == 0 {
		return nil, script[n:], nil
	}
	return &Stmt{c: c, p: p, query: script[:n]}, script[n:], nil
}

// Cached returns a statement for query that the connection keeps compiled. The caller returns
// it with Release.
func (c *Conn) Cached(query string) (*Stmt, error) {
	if st := c.cache[query]; st != nil && !st.inUse {
		st.inUse = true
		return st, nil
	}
	st, err := c.Prepare(query)
	if err != nil {
		return nil, err
	}
	st.inUse = true
	if c.cache[query] != nil {
		return st, nil // the cached statement is in use: this one stays uncached
	}
	if len(c.cache) >= maxCached {
		for q, old := range c.cache {
			if !old.inUse {
				delete(c.cache, q)
				old.Finalize()
				break
			}
		}
	}
	c.cache[query] = st
	st.query = query
	return st, nil
}

// Release resets st and returns it to the connection's cache.
func (st *Stmt) Release() {
	st.inUse = false
	if st.c.cache[st.query] != st {
		st.Finalize()
		return
	}
	st.Clear()
}

// Finalize frees the statement.
func (st *Stmt) Finalize() {
	lib.Xsqlite3_finalize(st.c.TLS, st.p)
	st.p = 0
	st.arena.free(st.c.TLS)
}

// Handle is the sqlite3_stmt*.
func (st *Stmt) Handle() uintptr { return st.p }

// SQL is the statement's text.
func (st *Stmt) SQL() string { return st.query }

// Params is the statement's number of parameters.
func (st *Stmt) Params() int { return int(lib.Xsqlite3_bind_parameter_count(st.c.TLS, st.p)) }

// ReadOnly reports whether the statement changes no database directly.
func (st *Stmt) ReadOnly() bool { return lib.Xsqlite3_stmt_readonly(st.c.TLS, st.p) != 0 }

func (st *Stmt) bound(rc int32) {
	if rc != lib.SQLITE_OK && st.err == nil {
		st.err = st.c.Err(rc)
	}
}

// BindNull sets parameter i to NULL.
func (st *Stmt) BindNull(i int) { st.bound(lib.Xsqlite3_bind_null(st.c.TLS, st.p, int32(i))) }

// BindInt64 sets parameter i.
func (st *Stmt) BindInt64(i int, v int64) {
	st.bound(lib.Xsqlite3_bind_int64(st.c.TLS, st.p, int32(i), v))
}

// BindFloat sets parameter i; NaN becomes NULL.
func (st *Stmt) BindFloat(i int, v float64) {
	st.bound(lib.Xsqlite3_bind_double(st.c.TLS, st.p, int32(i), v))
}

// BindText sets parameter i to a copy of v, which may hold any bytes.
func (st *Stmt) BindText(i int, v string) {
	p := st.arena.alloc(st.c.TLS, len(v))
	copy(CBytes(p, len(v)), v)
	st.bound(lib.Xsqlite3_bind_text64(st.c.TLS, st.p, int32(i), p, uint64(len(v)), 0, lib.SQLITE_UTF8))
}

// BindTextBytes is BindText for bytes.
func (st *Stmt) BindTextBytes(i int, v []byte) {
	p := st.arena.alloc(st.c.TLS, len(v))
	copy(CBytes(p, len(v)), v)
	st.bound(lib.Xsqlite3_bind_text64(st.c.TLS, st.p, int32(i), p, uint64(len(v)), 0, lib.SQLITE_UTF8))
}

// BindBlob sets parameter i to a copy of v; a nil v is an empty blob, not NULL.
func (st *Stmt) BindBlob(i int, v []byte) {
	p := st.arena.alloc(st.c.TLS, len(v))
	copy(CBytes(p, len(v)), v)
	st.bound(lib.Xsqlite3_bind_blob64(st.c.TLS, st.p, int32(i), p, uint64(len(v)), 0))
}

// BindBlobs is BindBlob for the concatenation of parts.
func (st *Stmt) BindBlobs(i int, parts ...[]byte) {
	n := 0
	for _, b := range parts {
		n += len(b)
	}
	p := st.arena.alloc(st.c.TLS, n)
	at := 0
	for _, b := range parts {
		at += copy(CBytes(p, n)[at:], b)
	}
	st.bound(lib.Xsqlite3_bind_blob64(st.c.TLS, st.p, int32(i), p, uint64(n), 0))
}

// BindZeroBlob sets parameter i to a blob of n zeros, which takes no memory.
func (st *Stmt) BindZeroBlob(i int, n int64) {
	st.bound(lib.Xsqlite3_bind_zeroblob64(st.c.TLS, st.p, int32(i), uint64(n)))
}

// Step runs the statement up to its next row. It returns false at the end; the
// statement is then reset and may be stepped again with the same values.
func (st *Stmt) Step() (bool, error) {
	if err := st.err; err != nil {
		st.err = nil
		return false, err
	}
	rc := lib.Xsqlite3_step(st.c.TLS, st.p)
	switch rc {
	case lib.SQLITE_ROW:
		return true, nil
	case lib.SQLITE_DONE:
		lib.Xsqlite3_reset(st.c.TLS, st.p)
		return false, nil
	}
	err := st.c.Err(rc)
	lib.Xsqlite3_reset(st.c.TLS, st.p)
	return false, err
}

// Run steps the statement to its end and drops the rows.
func (st *Stmt) Run() error {
	for {
		if row, err := st.Step(); err != nil || !row {
			return err
		}
	}
}

// Each steps the statement to its end and calls fn for every row.
func (st *Stmt) Each(fn func(*Stmt) error) error {
	for {
		row, err := st.Step()
		if err != nil || !row {
			return err
		}
		if err := fn(st); err != nil {
			st.Reset()
			return err
		}
	}
}

// Reset stops the statement, so that it can be stepped from its start. The
// bound values stay.
func (st *Stmt) Reset() { lib.Xsqlite3_reset(st.c.TLS, st.p) }

// Abort undoes the changes of the statement, which has just returned a row: a Reset would
// commit them. Inside a transaction it rolls the whole transaction back, as an interrupt
// does.
func (st *Stmt) Abort() {
	lib.Xsqlite3_interrupt(st.c.TLS, st.c.DB)
	lib.Xsqlite3_step(st.c.TLS, st.p) // returns SQLITE_INTERRUPT
	st.Reset()
}

// Clear is Reset, and sets every parameter to NULL.
func (st *Stmt) Clear() {
	lib.Xsqlite3_reset(st.c.TLS, st.p)
	lib.Xsqlite3_clear_bindings(st.c.TLS, st.p)
	st.err = nil
	st.arena.reset(st.c.TLS)
}

// Changes is the number of rows that the statement changed. It is valid only for an INSERT,
// UPDATE or DELETE that has just run to completion.
func (st *Stmt) Changes() int64 { return st.c.Changes() }

// ColumnCount is the number of columns in a row.
func (st *Stmt) ColumnCount() int { return int(lib.Xsqlite3_column_count(st.c.TLS, st.p)) }

// ColumnName is the name of column i.
func (st *Stmt) ColumnName(i int) string {
	return string(CString(lib.Xsqlite3_column_name(st.c.TLS, st.p, int32(i))))
}

// DeclType is the declared type of the table column that column i comes from,
// or "".
func (st *Stmt) DeclType(i int) string {
	return string(CString(lib.Xsqlite3_column_decltype(st.c.TLS, st.p, int32(i))))
}

// Type is the storage class of column i: 1 INTEGER, 2 FLOAT, 3 TEXT, 4 BLOB,
// 5 NULL.
func (st *Stmt) Type(i int) int {
	switch _, kind := st.cell(i); kind {
	case lib.MEM_Int:
		return lib.SQLITE_INTEGER
	case lib.MEM_Real:
		return lib.SQLITE_FLOAT
	case lib.MEM_Str:
		return lib.SQLITE_TEXT
	case lib.MEM_Blob:
		return lib.SQLITE_BLOB
	case lib.MEM_Null:
		return lib.SQLITE_NULL
	}
	return int(lib.Xsqlite3_column_type(st.c.TLS, st.p, int32(i)))
}

// IsNull reports whether column i is NULL.
func (st *Stmt) IsNull(i int) bool { return st.Type(i) == lib.SQLITE_NULL }

// Int64 is the value of column i.
func (st *Stmt) Int64(i int) int64 {
	if m, kind := st.cell(i); kind == lib.MEM_Int {
		return *cmem.At[int64](cmem.Address(&m.Fu))
	}
	return lib.Xsqlite3_column_int64(st.c.TLS, st.p, int32(i))
}

// Float is the value of column i.
func (st *Stmt) Float(i int) float64 {
	if m, kind := st.cell(i); kind == lib.MEM_Real {
		return *cmem.At[float64](cmem.Address(&m.Fu))
	}
	return lib.Xsqlite3_column_double(st.c.TLS, st.p, int32(i))
}

// Text is a copy of the value of column i. A blob yields its bytes.
func (st *Stmt) Text(i int) string { return string(st.View(i)) }

// Blob is a copy of the bytes of column i; never nil.
func (st *Stmt) Blob(i int) []byte { return append([]byte{}, st.View(i)...) }

// View returns the bytes of column i, TEXT or BLOB. They are valid until the statement is
// stepped or reset.
func (st *Stmt) View(i int) []byte {
	if m, kind := st.cell(i); whole(m, kind) {
		return CBytes(m.Fz, int(m.Fn))
	}
	tls, p, n := st.c.TLS, st.p, int32(i)
	if lib.Xsqlite3_column_type(tls, p, n) != lib.SQLITE_BLOB {
		z := lib.Xsqlite3_column_text(tls, p, n)
		return CBytes(z, int(lib.Xsqlite3_column_bytes(tls, p, n)))
	}
	z := lib.Xsqlite3_column_blob(tls, p, n)
	return CBytes(z, int(lib.Xsqlite3_column_bytes(tls, p, n)))
}

// arena is C memory for bound values: SQLite reads them from there while the statement runs,
// without copying them. Go memory will not do, because a goroutine's stack moves when it
// grows.
type arena struct {
	chunk uintptr
	size  int
	used  int
	old   []uintptr // outgrown chunks; bound values still live in them
}

// keep is the largest chunk that an idle statement holds on to.
const keep = 64 << 10

func (a *arena) alloc(tls *libc.TLS, n int) uintptr {
	n = (n + 8) &^ 7 // at least one byte: a NULL pointer would bind NULL
	if a.used+n > a.size {
		if a.chunk != 0 {
			a.old = append(a.old, a.chunk)
		}
		a.size, a.used = max(512, 2*a.size, n), 0
		a.chunk = libc.Xmalloc(tls, types.Size_t(a.size))
	}
	p := a.chunk + uintptr(a.used)
	a.used += n
	return p
}

func (a *arena) reset(tls *libc.TLS) {
	for _, p := range a.old {
		libc.Xfree(tls, p)
	}
	a.old, a.used = a.old[:0], 0
	if a.size > keep {
		a.free(tls)
	}
}

func (a *arena) free(tls *libc.TLS) {
	for _, p := range a.old {
		libc.Xfree(tls, p)
	}
	libc.Xfree(tls, a.chunk)
	*a = arena{}
}
