//go:build amd64 || arm64

package sqlite_test

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// systemCalls counts what SQLite asks of the system. SQLite's VFS lets a program replace the
// functions that it uses for that; on these processors they have the types below.
type systemCalls struct {
	tls *libc.TLS
	vfs uintptr

	mu    sync.Mutex
	calls map[string]int
}

func (s *systemCalls) called(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[name]++
}

func countSystemCalls(t *testing.T) *systemCalls {
	s := &systemCalls{tls: libc.NewTLS(), calls: map[string]int{}}
	t.Cleanup(s.tls.Close)
	s.vfs = lib.Xsqlite3_vfs_find(s.tls, 0)
	type fcntl = func(*libc.TLS, int32, int32, uintptr) int32
	count(t, s, "fcntl", func(old fcntl) fcntl {
		return func(tls *libc.TLS, fd, cmd int32, args uintptr) int32 {
			s.called("fcntl")
			return old(tls, fd, cmd, args)
		}
	})
	type at = func(tls *libc.TLS, fd int32, p uintptr, n uint64, offset int64) int64
	for _, name := range []string{"pread", "pwrite"} {
		count(t, s, name, func(old at) at {
			return func(tls *libc.TLS, fd int32, p uintptr, n uint64, offset int64) int64 {
				s.called(name)
				return old(tls, fd, p, n, offset)
			}
		})
	}
	type stat = func(tls *libc.TLS, fd int32, out uintptr) int32
	count(t, s, "fstat", func(old stat) stat {
		return func(tls *libc.TLS, fd int32, out uintptr) int32 {
			s.called("fstat")
			return old(tls, fd, out)
		}
	})
	return s
}

// count replaces a function of the VFS until the test ends.
func count[F any](t *testing.T, s *systemCalls, name string, with func(old F) F) {
	t.Helper()
	v := cmem.At[lib.Tsqlite3_vfs](s.vfs)
	z, err := libc.CString(name)
	if err != nil {
		t.Fatal(err)
	}
	old := cmem.GoFunc[func(*libc.TLS, uintptr, uintptr) uintptr](v.FxGetSystemCall)(s.tls, s.vfs, z)
	set := cmem.GoFunc[func(*libc.TLS, uintptr, uintptr, uintptr) int32](v.FxSetSystemCall)
	fn := with(cmem.GoFunc[F](old))
	if rc := set(s.tls, s.vfs, z, cmem.CFunc(fn)); rc != lib.SQLITE_OK {
		t.Fatalf("%s: %d", name, rc)
	}
	t.Cleanup(func() {
		set(s.tls, s.vfs, z, old)
		libc.Xfree(s.tls, z)
	})
	_ = fn // alive until here
}

// during returns the calls of fn.
func (s *systemCalls) during(fn func()) map[string]int {
	s.mu.Lock()
	clear(s.calls)
	s.mu.Unlock()
	fn()
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// TestSystemCalls: what a small write and a lookup ask of the system, each in the middle of
// others. Without kept snapshots a write takes and gives back three locks, one by one.
func TestSystemCalls(t *testing.T) {
	s := countSystemCalls(t)
	path := newFile(t)
	p := sqlite.NewPool(0, 4, func() (*sqlite.Conn, error) { return sqlite.Open(path, sqlite.Options{}) })
	defer closePool(t, p)
	k := newKeeping(t, p, newConn(t, path))
	plain := newConn(t, path)
	run(t, plain, "CREATE TABLE u(id INTEGER PRIMARY KEY, a, b UNIQUE); INSERT INTO u VALUES(1, 0, 'x')")
	const insert, update, find = "INSERT INTO u(a, b) VALUES(1, hex(randomblob(16)))", "UPDATE u SET a = a + 1 WHERE id = 1", "SELECT a FROM u WHERE id = 1"
	one := func(statement string) func() {
		return func() {
			if _, err := k.write(statement); err != nil {
				t.Error(err)
			}
		}
	}
	for _, c := range []struct {
		work string
		do   func()
		want map[string]int
	}{
		{"an insert, plain", func() { run(t, plain, insert) }, map[string]int{"fcntl": 6, "pwrite": 1}},
		{"an update, plain", func() { run(t, plain, update) }, map[string]int{"fcntl": 6, "pwrite": 1}},
		{"a lookup, plain", func() { run(t, plain, find) }, map[string]int{"fcntl": 2}},
		{"an insert", one(insert), map[string]int{"fcntl": 2, "pwrite": 1}},
		{"an update", one(update), map[string]int{"fcntl": 2, "pwrite": 1}},
		{"a lookup", func() { read(t, p, find) }, map[string]int{}},
	} {
		var got map[string]int
		for until := time.Now().Add(5 * time.Second); time.Now().Before(until); { // not at the end of a term
			c.do()
			c.do()
			if got = s.during(c.do); fmt.Sprint(got) == fmt.Sprint(c.want) {
				break
			}
		}
		t.Logf("%-18s %v", c.work, got)
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.work, got, c.want)
		}
	}
}
