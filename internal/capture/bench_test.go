package capture_test

import (
	"fmt"
	"testing"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

const users = "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE, age INTEGER, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL)"

// writer is what a benchmark needs of either kind of connection.
type writer struct {
	*sqlite.Conn
	before, after func()
}

func nothing() {}

// captured and plain connections, to databases that are otherwise alike.
func benchWriter(tb testing.TB, withCapture bool) writer {
	s := newSource(tb, 0)
	if !withCapture {
		c, err := new(sqlite.Driver).Open(s.path, s.opts)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { c.Close() })
		return writer{c, nothing, nothing}
	}
	s.watch(tb)
	c, err := capture.Open(s.path, s.opts, s.hub)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return writer{c.Conn, c.Before, c.After}
}

func (w writer) mustExec(tb testing.TB, script string) {
	tb.Helper()
	if err := w.Exec(script); err != nil {
		tb.Fatal(err)
	}
}

func (w writer) insertUser(tb testing.TB, n int) {
	w.run(tb, "INSERT INTO users VALUES(?1,?2,?3,?4,?5,?5)", func(st *sqlite.Stmt) {
		st.BindText(1, userID(n))
		st.BindText(2, fmt.Sprint("User ", n))
		st.BindText(3, fmt.Sprintf("user%d@example.com", n))
		st.BindInt64(4, int64(n%90))
		st.BindInt64(5, 1700000000000+int64(n))
	})
}

func userID(n int) string { return fmt.Sprintf("018bcfe5-6800-7000-8000-%012x", n) }

func (w writer) updateUser(tb testing.TB, n, age int) {
	w.run(tb, "UPDATE users SET age=?2 WHERE id=?1", func(st *sqlite.Stmt) {
		st.BindText(1, userID(n))
		st.BindInt64(2, int64(age))
	})
}

func (w writer) run(tb testing.TB, query string, bind func(*sqlite.Stmt)) {
	w.before()
	st, err := w.Cached(query)
	if err != nil {
		tb.Fatal(err)
	}
	bind(st)
	if err := st.Run(); err != nil {
		tb.Fatal(err)
	}
	st.Release()
	w.after()
}

// BenchmarkWrite is one autocommit write, with and without capture.
func BenchmarkWrite(b *testing.B) {
	for _, withCapture := range []bool{false, true} {
		name := "plain"
		if withCapture {
			name = "captured"
		}
		b.Run("insert/"+name, func(b *testing.B) {
			w := benchWriter(b, withCapture)
			w.mustExec(b, users)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				w.insertUser(b, n)
				n++
			}
		})
		b.Run("update/"+name, func(b *testing.B) {
			w := benchWriter(b, withCapture)
			w.mustExec(b, users)
			for n := range 1000 {
				w.insertUser(b, n)
			}
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				w.updateUser(b, n%1000, n)
				n++
			}
		})
	}
}

// TestLogRowSize keeps the log small: bytes of the log's pages, divided by rows.
func TestLogRowSize(t *testing.T) {
	const rows = 5000
	w := benchWriter(t, true)
	w.mustExec(t, users)
	size := func() int64 {
		n, err := w.Int("SELECT sum(pgsize) FROM dbstat WHERE name = '_driftdb_log'")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	empty := size()
	for n := range rows {
		w.insertUser(t, n)
	}
	inserted := size()
	for n := range rows {
		w.updateUser(t, n, n)
	}
	insert, update := float64(inserted-empty)/rows, float64(size()-inserted)/rows
	t.Logf("a log row takes %.1f bytes for an insert, %.1f for an update", insert, update)
	if insert > 125 || update > 100 {
		t.Errorf("a log row takes %.1f bytes for an insert (125 at most), %.1f for an update (100 at most)", insert, update)
	}
}
