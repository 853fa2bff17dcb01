package writer

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// open returns a writer of a new database with the table t.
func open(t *testing.T) *Writer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.sqlite")
	c, err := sqlite.Open(path, sqlite.Options{})
	must(t, err)
	_, err = changelog.Init(c, "")
	must(t, errors.Join(err, c.Close()))
	hub := capture.NewShared(0, 0, nil)
	conn, err := capture.Open(path, sqlite.Options{MustExist: true}, hub)
	must(t, err)
	readers := sqlite.NewPool(0, 0, nil)
	w, err := New(conn, Options{
		Hub: hub, Gate: NewGate(), Log: event.To(slog.DiscardHandler), Interrupt: func() {},
		TakeOver: func(context.Context) error { return errors.New("not expected") },
		Notice:   func(*capture.Conn) error { return nil },
		Readers:  readers,
	})
	must(t, err)
	t.Cleanup(func() {
		readers.Shut(ErrClosed)
		must(t, readers.Close(time.Now()))
		must(t, w.Close(func(*capture.Conn) error { return nil }))
	})
	_, err = w.Exec(t.Context(), "CREATE TABLE t(a UNIQUE)", nil)
	must(t, err)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// insert inserts a value, as a repository does.
func insert(value string) func(*capture.Conn) error {
	return func(c *capture.Conn) error {
		st, err := c.Cached("INSERT INTO t VALUES(?)")
		if err != nil {
			return err
		}
		defer st.Release()
		st.BindText(1, value)
		return st.Run()
	}
}

// count is the result of a query for a number.
func count(t *testing.T, w *Writer, query string) (n int64) {
	t.Helper()
	must(t, w.With(t.Context(), func(c *capture.Conn) (err error) { n, err = c.Int(query); return err }))
	return n
}

// Who finds the turn taken shares a commit with the others who do, and one of them that
// fails takes nobody along and leaves nothing behind.
func TestGroup(t *testing.T) {
	t.Run("statements", func(t *testing.T) {
		testGroup(t, true, func(c *capture.Conn) error {
			st, err := c.Cached("INSERT INTO t VALUES('x'), ('x')")
			if err != nil {
				return err
			}
			defer st.Release()
			return st.Run()
		})
	})
	t.Run("several statements each", func(t *testing.T) {
		testGroup(t, false, func(c *capture.Conn) error { return errors.Join(insert("x")(c), insert("x")(c)) })
	})
}

// testGroup runs a group of inserts and of one piece of work that inserts x and then fails.
func testGroup(t *testing.T, single bool, fails func(*capture.Conn) error) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		before := count(t, w, "SELECT count(*) FROM _driftdb_log")
		release, err := w.StandBack(t.Context())
		must(t, err)
		pieces := []func(*capture.Conn) error{insert("a"), insert("b"), fails, insert("c"), insert("d")}
		errs := make([]error, len(pieces))
		var all sync.WaitGroup
		for i, piece := range pieces {
			all.Go(func() { errs[i] = w.Do(t.Context(), single, piece) })
		}
		synctest.Wait()
		release()
		all.Wait()
		for i, err := range errs {
			if failed := err != nil; failed != (i == 2) {
				t.Errorf("piece %d: %v", i, err)
			}
		}
		if rows := count(t, w, "SELECT count(*) FROM t WHERE a IN ('a', 'b', 'c', 'd')"); rows != 4 || count(t, w, "SELECT count(*) FROM t") != rows {
			t.Errorf("%d of the 4 rows, or others", rows)
		}
		if commits := count(t, w, "SELECT count(*) FROM _driftdb_log") - before; commits != 1 {
			t.Errorf("%d commits, want one", commits)
		}
		if changes := count(t, w, "SELECT count FROM _driftdb_log ORDER BY sequence DESC LIMIT 1"); changes != 4 {
			t.Errorf("the commit's log has %d changes, want 4", changes)
		}
	})
}

// What would wait for its own caller is an error at once.
func TestOwn(t *testing.T) {
	w := open(t)
	own, err := w.Tx(t.Context(), func(*Tx) error {
		_, exec := w.Exec(t.Context(), "INSERT INTO t VALUES(1)", nil)
		_, tx := w.Tx(t.Context(), func(*Tx) error { return nil })
		for _, err := range []error{exec, tx, w.Do(t.Context(), true, insert("x"))} {
			if !errors.Is(err, ErrOwnTx) {
				t.Error(err)
			}
		}
		return nil
	})
	must(t, errors.Join(own, err))
	if w.Inside() {
		t.Error("still inside")
	}
}

// Users get no turn from when the gate is shut; the engine does until the end.
func TestShut(t *testing.T) {
	w := open(t)
	must(t, w.Gate.Close(func() error {
		_, exec := w.Exec(t.Context(), "INSERT INTO t VALUES(1)", nil)
		_, tx := w.Tx(t.Context(), func(*Tx) error { return nil })
		for _, err := range []error{exec, tx, w.Do(t.Context(), true, insert("x"))} {
			if !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
		release, err := w.StandBack(t.Context())
		if err == nil {
			release()
		}
		return err
	}))
}

// A transaction that does not end has its connection taken back, and is told.
func TestRecall(t *testing.T) {
	w := open(t)
	begun, shut, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		own, err := w.Tx(context.Background(), func(tx *Tx) error {
			if _, err := tx.Exec(context.Background(), "INSERT INTO t VALUES('lost')", nil); err != nil {
				return err
			}
			close(begun)
			<-shut
			_, err := tx.Exec(context.Background(), "INSERT INTO t VALUES('late')", nil)
			return err
		})
		done <- errors.Join(own, err)
	}()
	<-begun
	must(t, w.Gate.Close(func() error { return w.Recall(time.Now()) }))
	close(shut)
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("the transaction: %v", err)
	}
	var n int64
	must(t, w.IfFree(func(c *capture.Conn) (err error) { n, err = c.Int("SELECT count(*) FROM t"); return err }))
	if n != 0 {
		t.Errorf("%d rows of a transaction that was taken back", n)
	}
}

// The first change takes the database over from another node, and is made after that.
func TestContested(t *testing.T) {
	w := open(t)
	taken := 0
	w.TakeOver = func(context.Context) error {
		taken++
		w.Hub.Contest(false)
		return nil
	}
	w.Hub.Contest(true)
	must(t, w.Do(t.Context(), true, insert("a")))
	w.Hub.Contest(true)
	_, err := w.Exec(t.Context(), "INSERT INTO t VALUES('b')", nil)
	must(t, err)
	w.Hub.Contest(true)
	own, err := w.Tx(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec(t.Context(), "INSERT INTO t VALUES('c')", nil)
		return err
	})
	must(t, errors.Join(own, err))
	if taken != 3 || count(t, w, "SELECT count(*) FROM t") != 3 {
		t.Errorf("taken over %d times", taken)
	}
}
