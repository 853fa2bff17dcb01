package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

func newFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.db")
	run(t, newConn(t, path), "CREATE TABLE t(a)")
	return path
}

func newConn(t testing.TB, path string) *sqlite.Conn {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestInterruptEndsWaiting: a connection that waits for a lock can be interrupted,
// and otherwise waits as long as it is told to.
func TestInterruptEndsWaiting(t *testing.T) {
	path := newFile(t)
	holder := newConn(t, path)
	run(t, holder, "BEGIN IMMEDIATE")
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{BusyTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if ms, err := c.Int("PRAGMA busy_timeout"); err != nil || ms != time.Hour.Milliseconds() {
		t.Errorf("busy_timeout is %d, %v", ms, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	stop := c.Watch(ctx)
	if err := c.Exec("BEGIN IMMEDIATE"); !sqlite.Stopped(err) {
		t.Error(err)
	}
	stop()
	for _, timeout := range []time.Duration{time.Millisecond, 60 * time.Millisecond, 300 * time.Millisecond} {
		c, err := new(sqlite.Driver).Open(path, sqlite.Options{BusyTimeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := c.Exec("BEGIN IMMEDIATE"); !sqlite.IsBusy(err) {
			t.Error(err)
		}
		if took := time.Since(began); took < timeout || took > timeout+3*time.Second {
			t.Errorf("waited %v, not %v", took, timeout)
		}
		c.Close()
	}
	run(t, holder, "ROLLBACK")
	if err := c.Exec("BEGIN IMMEDIATE; ROLLBACK"); err != nil {
		t.Error(err)
	}
}

// TestInterruptedDeclaration: a statement that is interrupted while SQLite declares a virtual
// table for it counts as interrupted.
func TestInterruptedDeclaration(t *testing.T) {
	c := newConn(t, newFile(t))
	st, err := c.Prepare("SELECT 1 UNION ALL SELECT 2")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Finalize()
	if _, err := st.Step(); err != nil {
		t.Fatal(err)
	}
	c.Interrupt()                                        // stays pending while a statement is active
	_, err = c.Prepare(`SELECT*FROM"pragma_page_size";`) // SQLite looks at each space, and the declaration has the first
	if !sqlite.IsInterrupted(err) {
		t.Errorf("%v", err)
	}
}
