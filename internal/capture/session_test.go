package capture_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/cmem"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
	"pgregory.net/rapid"
)

// TestSessionAgrees compares the log with what SQLite's own session extension
// says has changed. A replay proves only what the log says of rows after a
// change; this also proves what it says of them before. And a session knows
// nothing of savepoints: it keeps each row as it first found it, and reads at
// the end what has become of it.
func TestSessionAgrees(t *testing.T) {
	var sessions, changes int
	defer func() { t.Logf("%d sessions, %d net changes", sessions, changes) }()
	rapid.Check(t, func(r *rapid.T) {
		s := newSource(t, 0)
		defer os.RemoveAll(filepath.Dir(s.path))
		c, err := capture.Open(s.path, s.opts, s.hub)
		if err != nil {
			r.Fatal(err)
		}
		defer c.Close()
		if _, err := c.ExecContext(context.Background(), sessionSchema, nil); err != nil {
			r.Fatal(err)
		}
		m := &mirror{rows: map[string]row{}, next: 1}
		m.follow(r, c)
		for range rapid.IntRange(1, 5).Draw(r, "sessions") {
			sessions, changes = sessions+1, changes+compareSession(r, c, m)
		}
	})
}

// compareSession records some transactions and returns how many rows they have
// changed.
func compareSession(r *rapid.T, c *capture.Conn, m *mirror) int {
	s := newSession(r, c)
	defer s.delete()
	for range rapid.IntRange(1, 6).Draw(r, "transactions") {
		runTransaction(r, c)
	}
	before := maps.Clone(m.rows)
	m.follow(r, c)
	recorded := s.changeset(r)
	compareNet(r, net(before, m.rows), recorded)
	return len(recorded)
}

// compareNet fails unless the log and the changeset say the same of every row.
func compareNet(r *rapid.T, logged, recorded map[string]string) {
	var wrong []string
	for key, l := range logged {
		if recorded[key] != l {
			wrong = append(wrong, fmt.Sprintf("%s\n  log:     %s\n  session: %s", key, l, recorded[key]))
		}
	}
	for key, s := range recorded {
		if _, ok := logged[key]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s\n  log:     \n  session: %s", key, s))
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		r.Fatalf("log and session differ:\n%s", strings.Join(wrong, "\n"))
	}
}

// row is a row's values, without generated columns.
type row []change.Value

// mirror is the tables as the log alone describes them.
type mirror struct {
	rows map[string]row // by table and key; rows are replaced, never changed
	next int64          // sequence from which on the log has not been read
}

// follow reads what is new in the log. Each change must fit the rows that it
// finds.
func (m *mirror) follow(r *rapid.T, c *capture.Conn) {
	log := changelog.View(c.Conn)
	err := log.Each(m.next, func(tx changelog.Transaction) error {
		m.next = tx.Last() + 1
		return log.Entries(tx, func(sequence int64, e *change.Entry) error {
			if err := m.apply(e); err != nil {
				return fmt.Errorf("sequence %d, %s %s %s: %w", sequence, e.Op, e.Table, show(values(e.Key)), err)
			}
			return nil
		})
	})
	if err != nil {
		r.Fatal(err)
	}
}

func (m *mirror) apply(e *change.Entry) error {
	t, ok := sessionTables[e.Table]
	switch {
	case e.Op == change.Barrier:
		return errors.New("a barrier: " + e.Reason)
	case !ok:
		return nil // the schema and sqlite_sequence, of which sessions know nothing
	}
	old, found := m.rows[rowName(e.Table, values(e.Key))]
	switch {
	case found && e.Op == change.Insert:
		return errors.New("the row is there already")
	case !found && e.Op != change.Insert:
		return errors.New("there is no such row")
	}
	delete(m.rows, rowName(e.Table, values(e.Key)))
	for _, b := range e.Before {
		if i := slices.Index(t.columns, b.Name); show(row{old[i]}) != show(row{b.Value}) {
			return fmt.Errorf("%s was %s, the log says %s", b.Name, show(row{old[i]}), show(row{b.Value}))
		}
	}
	if e.Op == change.Delete {
		if len(e.Before) != len(t.columns) {
			return fmt.Errorf("%d columns of %d are there", len(e.Before), len(t.columns))
		}
		return nil
	}
	now := make(row, len(t.columns))
	copy(now, old)
	for _, a := range e.After {
		a.Value.Bytes = bytes.Clone(a.Value.Bytes)
		now[slices.Index(t.columns, a.Name)] = a.Value
	}
	name := rowName(e.Table, t.key(now))
	if _, taken := m.rows[name]; taken {
		return errors.New("another row has its key")
	}
	m.rows[name] = now
	return nil
}

func values(columns []change.Column) row {
	var out row
	for _, c := range columns {
		out = append(out, c.Value)
	}
	return out
}

// net describes what makes after of before, by row, as a changeset does.
func net(before, after map[string]row) map[string]string {
	out := map[string]string{}
	for name, old := range before {
		if now, ok := after[name]; !ok {
			out[name] = describe(lib.SQLITE_DELETE, old, nil)
		} else if s := describe(lib.SQLITE_UPDATE, old, now); s != "" {
			out[name] = s
		}
	}
	for name, now := range after {
		if _, ok := before[name]; !ok {
			out[name] = describe(lib.SQLITE_INSERT, nil, now)
		}
	}
	return out
}

// describe shows one net change: the whole row of an insert or delete, the
// changed columns of an update, or nothing if there are none.
func describe(op int32, old, now row) string {
	switch op {
	case lib.SQLITE_INSERT:
		return "insert " + show(now)
	case lib.SQLITE_DELETE:
		return "delete " + show(old)
	}
	var b strings.Builder
	for i := range old {
		if o, n := show(old[i:i+1]), show(now[i:i+1]); o != n {
			fmt.Fprintf(&b, " column %d %s -> %s", i, o, n)
		}
	}
	return b.String()
}

func rowName(table string, key row) string { return table + show(key) }

// show writes values so that different ones look different.
func show(r row) string {
	out := make([]string, len(r))
	for i, v := range r {
		switch v.Kind {
		case change.Integer:
			out[i] = fmt.Sprint(v.Int)
		case change.Real:
			out[i] = fmt.Sprintf("real %g %x", v.Real, math.Float64bits(v.Real))
		case change.Text:
			out[i] = fmt.Sprintf("%q", v.Bytes)
		case change.Blob:
			out[i] = fmt.Sprintf("x'%x'", v.Bytes)
		default:
			out[i] = "NULL"
		}
	}
	return fmt.Sprint(out)
}

// session records a connection's changes beside capture. SQLite has one
// preupdate hook for each connection, and sqlite3session_create takes it, so
// both calls both: they see the very same changes. A session on a connection of
// its own would have to run the same statements on an equal database and make
// the same choices in each.
type session struct {
	c     *capture.Conn
	p     uintptr // the sqlite3_session
	cells uintptr // four words of C memory for results
}

type preupdateHook = func(tls *libc.TLS, arg, db uintptr, op int32, zDB, zTable uintptr, rowid, newRowid int64)

// hooks has what both calls, by sqlite3*: [2]hookAndArg.
var hooks sync.Map

type hookAndArg struct {
	fn  preupdateHook
	arg uintptr
}

// both is a function at the top, not a closure, because only C memory knows it.
func both(tls *libc.TLS, _, db uintptr, op int32, zDB, zTable uintptr, rowid, newRowid int64) {
	two, _ := hooks.Load(db)
	for _, h := range two.([2]hookAndArg) {
		h.fn(tls, h.arg, db, op, zDB, zTable, rowid, newRowid)
	}
}

// installed is the connection's preupdate hook.
func installed(c *capture.Conn) hookAndArg {
	db := cmem.At[lib.Tsqlite3](c.DB)
	fn := db.FxPreUpdateCallback
	return hookAndArg{*(*preupdateHook)(unsafe.Pointer(&fn)), db.FpPreUpdateArg}
}

func newSession(r *rapid.T, c *capture.Conn) *session {
	s := &session{c: c, cells: libc.Xcalloc(c.TLS, 4, 8)}
	ours := installed(c)
	s.text(r, "main", func(z uintptr) int32 { return lib.Xsqlite3session_create(c.TLS, c.DB, z, s.cells) })
	s.p = *cmem.At[uintptr](s.cells)
	for name := range sessionTables {
		s.text(r, name, func(z uintptr) int32 { return lib.Xsqlite3session_attach(c.TLS, s.p, z) })
	}
	hooks.Store(c.DB, [2]hookAndArg{installed(c), ours})
	lib.Xsqlite3_preupdate_hook(c.TLS, c.DB, sqlite.CFunc(both), s.p)
	return s
}

// text calls fn with s as a C string.
func (s *session) text(r *rapid.T, text string, fn func(z uintptr) int32) {
	z, err := libc.CString(text)
	if err != nil {
		r.Fatal(err)
	}
	defer libc.Xfree(s.c.TLS, z)
	s.ok(r, fn(z))
}

func (s *session) ok(r *rapid.T, rc int32) {
	if rc != lib.SQLITE_OK {
		r.Fatalf("session extension: %v", s.c.Err(rc))
	}
}

// delete ends the session and gives capture its hook back.
func (s *session) delete() {
	two, _ := hooks.LoadAndDelete(s.c.DB)
	ours := two.([2]hookAndArg)[1]
	lib.Xsqlite3session_delete(s.c.TLS, s.p)
	lib.Xsqlite3_preupdate_hook(s.c.TLS, s.c.DB, sqlite.CFunc(ours.fn), ours.arg)
	libc.Xfree(s.c.TLS, s.cells)
}

// changeset is what has changed since newSession, by row.
func (s *session) changeset(r *rapid.T) map[string]string {
	tls, cell := s.c.TLS, func(i int) uintptr { return s.cells + uintptr(8*i) }
	s.ok(r, lib.Xsqlite3session_changeset(tls, s.p, cell(0), cell(1)))
	n, data := *cmem.At[int32](cell(0)), *cmem.At[uintptr](cell(1))
	defer lib.Xsqlite3_free(tls, data)
	s.ok(r, lib.Xsqlite3changeset_start(tls, cell(0), n, data))
	iter := *cmem.At[uintptr](cell(0))
	out := map[string]string{}
	for lib.Xsqlite3changeset_next(tls, iter) == lib.SQLITE_ROW {
		s.ok(r, lib.Xsqlite3changeset_op(tls, iter, cell(0), cell(1), cell(2), cell(3)))
		table := string(sqlite.CString(*cmem.At[uintptr](cell(0))))
		columns, op := int(*cmem.At[int32](cell(1))), *cmem.At[int32](cell(2))
		t := sessionTables[table]
		if columns != len(t.columns) {
			r.Fatalf("the session sees %d columns of %s, we %d", columns, table, len(t.columns))
		}
		var old, now row
		if op != lib.SQLITE_INSERT {
			old = s.row(r, columns, func(i int32) int32 { return lib.Xsqlite3changeset_old(tls, iter, i, cell(0)) })
		}
		if op != lib.SQLITE_DELETE {
			now = s.row(r, columns, func(i int32) int32 { return lib.Xsqlite3changeset_new(tls, iter, i, cell(0)) })
		}
		key := t.key(old)
		switch op {
		case lib.SQLITE_INSERT:
			key = t.key(now)
		case lib.SQLITE_UPDATE:
			for _, i := range t.keys {
				now[i] = old[i] // a changeset has it on one side only
			}
		}
		out[rowName(table, key)] = describe(op, old, now)
	}
	s.ok(r, lib.Xsqlite3changeset_finalize(tls, iter))
	return out
}

// row reads n values; one that a changeset leaves out, because it has not
// changed, is NULL on both sides.
func (s *session) row(r *rapid.T, n int, get func(i int32) int32) row {
	out := make(row, n)
	for i := range out {
		s.ok(r, get(int32(i)))
		if v := *cmem.At[uintptr](s.cells); v != 0 {
			out[i] = valueAt(s.c.TLS, v)
		}
	}
	return out
}

func valueAt(tls *libc.TLS, v uintptr) change.Value {
	raw := func() []byte {
		p := lib.Xsqlite3_value_blob(tls, v)
		return bytes.Clone(sqlite.CBytes(p, int(lib.Xsqlite3_value_bytes(tls, v))))
	}
	switch lib.Xsqlite3_value_type(tls, v) {
	case lib.SQLITE_INTEGER:
		return change.Value{Kind: change.Integer, Int: lib.Xsqlite3_value_int64(tls, v)}
	case lib.SQLITE_FLOAT:
		return change.Value{Kind: change.Real, Real: lib.Xsqlite3_value_double(tls, v)}
	case lib.SQLITE_TEXT:
		return change.Value{Kind: change.Text, Bytes: raw()}
	case lib.SQLITE_BLOB:
		return change.Value{Kind: change.Blob, Bytes: raw()}
	}
	return change.Value{}
}
