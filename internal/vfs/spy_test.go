package vfs

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/driftdb/driftdb-go/internal/vfs/layer"
	"modernc.org/libc"
	_ "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Two VFS are compared: the platform's, and ours. Both are over spy, which sees what
// reaches the system. A shadow over ours sees what SQLite writes.
const plain, joined, mirrored = "spy", "joined-over-spy", "shadow-over-joined"

var (
	spied    spy
	ours     *joining
	shadowed shadow
)

func TestMain(m *testing.M) {
	err := spied.register(plain)
	if err == nil {
		ours, err = register(joined, plain)
	}
	if err == nil {
		err = shadowed.register(mirrored, joined)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// call is one that reached the system: what was done to which kind of file.
type call struct{ kind, method string }

type spy struct {
	*layer.VFS
	methods map[string]*layer.Methods

	mu    sync.Mutex
	calls map[call]int
	fail  func(c call, n int32, offset int64) int32 // a result that is not 0 is that of the call, which is not made
}

func (s *spy) register(name string) (err error) {
	s.calls, s.methods = map[call]int{}, map[string]*layer.Methods{}
	for _, kind := range []string{"database", "wal"} {
		s.methods[kind] = s.methodsOf(kind)
	}
	s.VFS, err = layer.Register(layer.Options{Name: name, Hooks: layer.Hooks{
		Open: func(tls *libc.TLS, name uintptr, f layer.File, flags int32, outFlags uintptr) int32 {
			rc := s.Open(tls, name, f, flags, outFlags)
			kind := ""
			switch {
			case flags&lib.SQLITE_OPEN_MAIN_DB != 0:
				kind = "database"
			case flags&lib.SQLITE_OPEN_WAL != 0:
				kind = "wal"
			}
			if rc != lib.SQLITE_OK || kind == "" {
				return rc
			}
			return s.Attach(tls, f, s.methods[kind])
		},
	}})
	return err
}

func (s *spy) methodsOf(kind string) *layer.Methods {
	return &layer.Methods{
		Read: func(tls *libc.TLS, f layer.File, buf uintptr, n int32, offset int64) int32 {
			if rc := s.note(kind, "read", n, offset); rc != 0 {
				return rc
			}
			return s.Below(f).Read(tls, buf, n, offset)
		},
		Write: func(tls *libc.TLS, f layer.File, buf uintptr, n int32, offset int64) int32 {
			if rc := s.note(kind, "write", n, offset); rc != 0 {
				s.Below(f).Write(tls, buf, n/3, offset) // a part of it is there
				return rc
			}
			return s.Below(f).Write(tls, buf, n, offset)
		},
		Sync: func(tls *libc.TLS, f layer.File, flags int32) int32 {
			if rc := s.note(kind, "sync", flags, 0); rc != 0 {
				return rc
			}
			return s.Below(f).Sync(tls, flags)
		},
		FileSize: func(tls *libc.TLS, f layer.File, out uintptr) int32 {
			if rc := s.note(kind, "size", 0, 0); rc != 0 {
				return rc
			}
			return s.Below(f).FileSize(tls, out)
		},
		ShmLock: func(tls *libc.TLS, f layer.File, offset, n, flags int32) int32 {
			if rc := s.note(kind, "lock", n, int64(offset)); rc != 0 {
				return rc
			}
			return s.Below(f).ShmLock(tls, offset, n, flags)
		},
	}
}

func (s *spy) note(kind, method string, n int32, offset int64) int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := call{kind, method}
	s.calls[c]++
	if s.fail != nil {
		return s.fail(c, n, offset)
	}
	return 0
}

// during is what reaches the system while fn runs.
func (s *spy) during(fn func()) map[call]int {
	s.mu.Lock()
	before := maps.Clone(s.calls)
	s.mu.Unlock()
	fn()
	s.mu.Lock()
	defer s.mu.Unlock()
	made := map[call]int{}
	for c, n := range s.calls {
		if n != before[c] {
			made[c] = n - before[c]
		}
	}
	return made
}

// failing makes calls fail while fn runs.
func (s *spy) failing(fail func(c call, n int32, offset int64) int32, fn func()) {
	set := func(fail func(call, int32, int64) int32) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fail = fail
	}
	set(fail)
	defer set(nil)
	fn()
}

// conn is one connection.
type conn struct {
	t    testing.TB
	sql  *sql.Conn
	pool *sql.DB
}

// connect opens path with a VFS, in WAL mode unless there are other parameters.
func connect(t testing.TB, vfs, path string, params ...string) *conn {
	t.Helper()
	q := url.Values{"vfs": {vfs}, "_pragma": {"busy_timeout(60000)"}}
	for _, p := range params {
		k, v, _ := strings.Cut(p, "=")
		q.Add(k, v)
	}
	if len(params) == 0 {
		q.Add("_pragma", "journal_mode(WAL)")
	}
	db, err := sql.Open("sqlite", "file:///"+strings.TrimPrefix(filepath.ToSlash(path), "/")+"?"+q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	c, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	out := &conn{t, c, db}
	t.Cleanup(out.close)
	return out
}

func (c *conn) close() {
	_ = c.sql.Close()
	_ = c.pool.Close()
}

func (c *conn) try(script string, args ...any) error {
	_, err := c.sql.ExecContext(context.Background(), script, args...)
	return err
}

func (c *conn) exec(script string, args ...any) {
	c.t.Helper()
	if err := c.try(script, args...); err != nil {
		c.t.Fatalf("%s: %v", script, err)
	}
}

// rows is what a query answers, as text.
func (c *conn) rows(query string) string {
	c.t.Helper()
	rows, err := c.sql.QueryContext(context.Background(), query)
	if err != nil {
		c.t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	names, _ := rows.Columns()
	var out strings.Builder
	for rows.Next() {
		row := make([]any, len(names))
		for i := range row {
			row[i] = new(sql.RawBytes)
		}
		if err := rows.Scan(row...); err != nil {
			c.t.Fatal(err)
		}
		for _, v := range row {
			fmt.Fprintf(&out, "%s|", *v.(*sql.RawBytes))
		}
		out.WriteByte('\n')
	}
	if err := rows.Err(); err != nil {
		c.t.Fatalf("%s: %v", query, err)
	}
	return out.String()
}

func (c *conn) sound(what string) {
	c.t.Helper()
	if got := c.rows("PRAGMA integrity_check"); got != "ok|\n" {
		c.t.Fatalf("%s: %s", what, got)
	}
}

func (m call) String() string { return m.kind + " " + m.method }

// table prints what was counted.
func table(made map[call]int) string {
	var parts []string
	for c, n := range made {
		parts = append(parts, fmt.Sprintf("%s %d", c, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
