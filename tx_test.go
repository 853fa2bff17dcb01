package driftdb_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// errUndo makes a transaction fail.
var errUndo = errors.New("undo")

// TestTx: all of a transaction happens, or nothing of it.
func TestTx(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(v UNIQUE)")
	insert := func(tx *driftdb.Tx, v any) error {
		_, err := tx.Exec(ctx, "INSERT INTO t VALUES(?)", v)
		return err
	}
	want := func(what string, n int64) {
		t.Helper()
		if got := systemtest.Count(t, db, "t"); got != n {
			t.Errorf("%s: %d rows, want %d", what, got, n)
		}
	}

	if err := db.Tx(ctx, func(tx *driftdb.Tx) error { return errors.Join(insert(tx, 1), insert(tx, 2)) }); err != nil {
		t.Fatal(err)
	}
	want("committed", 2)

	if err := db.Tx(ctx, func(tx *driftdb.Tx) error { return errors.Join(insert(tx, 3), errUndo) }); !errors.Is(err, errUndo) {
		t.Error(err)
	}
	want("an error", 2)

	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = db.Tx(ctx, func(tx *driftdb.Tx) error { _ = insert(tx, 3); panic("oops") })
	}()
	want("a panic", 2)

	gone, cancel := context.WithCancel(ctx)
	if err := db.Tx(gone, func(tx *driftdb.Tx) error { cancel(); return insert(tx, 3) }); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ends: %v", err)
	}
	want("a context that ended", 2)

	err := db.Tx(ctx, func(tx *driftdb.Tx) error {
		var broken *driftdb.ConstraintError
		if err := insert(tx, 1); !errors.As(err, &broken) || broken.Kind != driftdb.ConstraintUnique || broken.Column != "v" {
			t.Errorf("a duplicate: %v", err)
		}
		return insert(tx, 3) // the transaction goes on
	})
	if err != nil {
		t.Error(err)
	}
	want("after a refused statement", 3)

	var kept *driftdb.Tx
	if err := db.Tx(ctx, func(tx *driftdb.Tx) error { kept = tx; return nil }); err != nil {
		t.Error(err)
	}
	if err := insert(kept, 4); err == nil {
		t.Error("a transaction that has ended was used")
	}
	want("after its end", 3)
}

// TestTxThatIsLost: when SQLite itself rolls back, what follows must not be
// committed statement by statement.
func TestTxThatIsLost(t *testing.T) {
	ctx := t.Context()
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Exec(t, db, "CREATE TABLE t(v UNIQUE)")
	err := db.Tx(ctx, func(tx *driftdb.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO t VALUES(1)"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT OR ROLLBACK INTO t VALUES(1)"); err == nil {
			t.Error("a duplicate was taken")
		}
		if _, err := tx.Exec(ctx, "INSERT INTO t VALUES(2)"); err == nil {
			t.Error("a statement ran outside of the transaction")
		}
		return nil
	})
	if err == nil {
		t.Error("a transaction that was rolled back is said to be committed")
	}
	if _, err := db.Exec(ctx, "BEGIN; INSERT INTO t VALUES(4)"); err == nil || !strings.Contains(err.Error(), "Tx") {
		t.Errorf("a transaction that a script left open: %v", err)
	}
	if n := systemtest.Count(t, db, "t"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// TestTransactionControl: a transaction begins and ends with its function. A
// statement that would end it, or divide it, is refused before it runs, wherever
// it stands and whatever stands before it; what only looks like one is not.
func TestTransactionControl(t *testing.T) {
	ctx := t.Context()
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	control := []string{
		"BEGIN", "begin immediate", "COMMIT", "COMMIT TRANSACTION", "END", "ROLLBACK", "ROLLBACK TO s", "SAVEPOINT s", "RELEASE s",
		";; COMMIT;", "-- a comment;\nCOMMIT", "/* a; comment */ COMMIT", "\ufeffCOMMIT", " \t\r\n\fCOMMIT", "/*/ BEGIN */ ROLLBACK",
	}
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "Tx.Savepoint") {
			t.Errorf("%q: %v", what, err)
		}
	}
	inTx := func(tx *driftdb.Tx) {
		for _, query := range control {
			_, err := tx.Exec(ctx, query)
			refused(query, err)
			_, err = driftdb.Select[int64](ctx, tx, query)
			refused("Select "+query, err)
			for _, before := range []string{"SELECT 1; ", "SELECT 1;", "SELECT ';'; /* ; */ SELECT 2; -- ;\n"} {
				_, err = tx.Exec(ctx, before+query)
				refused(before+query, err)
			}
		}
		for _, query := range []string{"EXPLAIN COMMIT", "SELECT 'COMMIT'", "SELECT 1; -- COMMIT", "", ";", "SELECT 1\x00; COMMIT"} {
			if _, err := tx.Exec(ctx, query); err != nil {
				t.Errorf("%q: %v", query, err)
			}
		}
	}
	err := db.Tx(ctx, func(tx *driftdb.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO t VALUES(1); CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END; INSERT INTO t VALUES(2)"); err != nil {
			return err
		}
		inTx(tx)
		_, err := tx.Exec(ctx, "INSERT INTO t VALUES(3); COMMIT; INSERT INTO t VALUES(4)")
		refused("in a script", err)
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		t.Error(err)
	}
	if n := systemtest.Count(t, db, "t"); n != 0 {
		t.Errorf("%d rows of what was rolled back", n)
	}
	err = db.ReadTx(ctx, func(tx *driftdb.Tx) error {
		if n, err := driftdb.Select[int64](ctx, tx, "SELECT count(*) FROM t"); err != nil || n[0] != 0 {
			t.Errorf("%v, %v", n, err)
		}
		inTx(tx)
		systemtest.Exec(t, db, "BEGIN; INSERT INTO t VALUES(5); SAVEPOINT s; INSERT INTO t VALUES(6); RELEASE s; COMMIT")
		if n, err := driftdb.Select[int64](ctx, tx, "SELECT count(*) FROM t"); err != nil || n[0] != 0 {
			t.Errorf("the view has ended: %v, %v", n, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if n := systemtest.Count(t, db, "t"); n != 2 {
		t.Errorf("%d rows", n)
	}
}

// TestLoopOutlivesTx: a loop over rows that the program still holds when its
// transaction has ended is told so, and leaves the writer alone.
func TestLoopOutlivesTx(t *testing.T) {
	ctx := t.Context()
	db := systemtest.Open(t, systemtest.Config(t))
	rows, err := driftdb.Define[systemtest.LoadRow](ctx, db, "rows")
	systemtest.Check(t, err)
	for n := range int64(3) {
		_, err := rows.Create(ctx, systemtest.LoadRow{N: n})
		systemtest.Check(t, err)
	}
	for name, run := range map[string]func(context.Context, func(*driftdb.Tx) error) error{"Tx": db.Tx, "ReadTx": db.ReadTx} {
		var next func() (systemtest.LoadRow, error, bool)
		var stop func()
		systemtest.Check(t, run(ctx, func(tx *driftdb.Tx) error {
			next, stop = iter.Pull2(rows.In(tx).Each(ctx, driftdb.Query{}))
			_, err, _ := next()
			return err
		}))
		systemtest.Exec(t, db, "UPDATE rows SET updatedAt = updatedAt + 1")
		if _, err, more := next(); err == nil || !strings.Contains(err.Error(), "has ended") {
			t.Errorf("%s: %v, %v", name, err, more)
		}
		stop()
		_, err = rows.Create(ctx, systemtest.LoadRow{N: int64(10 + len(name))})
		systemtest.Check(t, err)
	}
}

// TestSavepoint: a part can be undone by itself, at any depth.
func TestSavepoint(t *testing.T) {
	ctx := t.Context()
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	put := func(tx *driftdb.Tx, v string) error {
		_, err := tx.Exec(ctx, "INSERT INTO t VALUES(?)", v)
		return err
	}
	err := db.Tx(ctx, func(tx *driftdb.Tx) error {
		if err := put(tx, "outer"); err != nil {
			return err
		}
		err := tx.Savepoint(ctx, func(tx *driftdb.Tx) error {
			inner := tx.Savepoint(ctx, func(tx *driftdb.Tx) error { return errors.Join(put(tx, "undone"), errUndo) })
			if !errors.Is(inner, errUndo) {
				t.Error(inner)
			}
			return put(tx, "kept")
		})
		if err != nil {
			return err
		}
		func() {
			defer func() { _ = recover() }()
			_ = tx.Savepoint(ctx, func(tx *driftdb.Tx) error { _ = put(tx, "panicked"); panic("oops") })
		}()
		return put(tx, "last")
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := driftdb.Select[string](ctx, db, "SELECT group_concat(v) FROM t")
	if err != nil || got[0] != "outer,kept,last" {
		t.Errorf("%v %v", got, err)
	}
}

// TestReadTx: one view throughout, and no writing.
func TestReadTx(t *testing.T) {
	ctx := t.Context()
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Some(t, db, "t", 2)
	err := db.ReadTx(ctx, func(tx *driftdb.Tx) error {
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('meanwhile')")
		n, err := driftdb.Select[int64](ctx, tx, "SELECT count(*) FROM t")
		if err != nil {
			return err
		}
		if n[0] != 2 {
			t.Errorf("the view changed: %d rows", n[0])
		}
		if _, err := tx.Exec(ctx, "DELETE FROM t"); !errors.Is(err, driftdb.ErrReadOnly) {
			t.Errorf("a write: %v", err)
		}
		if err := tx.Savepoint(ctx, func(*driftdb.Tx) error { return nil }); !errors.Is(err, driftdb.ErrReadOnly) {
			t.Errorf("a savepoint: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := driftdb.Select[int64](ctx, db, "DELETE FROM t RETURNING id"); !errors.Is(err, driftdb.ErrReadOnly) {
		t.Errorf("a Select that writes: %v", err)
	}
}

// TestWaitingForTheWriter ends with the caller's context.
func TestWaitingForTheWriter(t *testing.T) {
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Some(t, db, "t", 1)
	repo, err := db.Define(t.Context(), "r", driftdb.Schema{driftdb.Text("v")})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), func(*driftdb.Tx) error {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := db.Exec(gone, "DELETE FROM t"); !errors.Is(err, context.Canceled) {
			t.Errorf("Exec: %v", err)
		}
		if _, err := repo.Create(gone, driftdb.Record{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Create: %v", err)
		}
		soon, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { _, err := repo.Create(soon, driftdb.Record{}); done <- err }()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Create that waits: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTxContextEnds: whenever a context ends in a transaction, whatever SQLite
// makes of that, the error says that it did.
func TestTxContextEnds(t *testing.T) {
	db := systemtest.Open(t, driftdb.Config{Name: "app", Path: ":memory:"})
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE)")
	for i := range 3000 {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Tx(ctx, func(tx *driftdb.Tx) error {
			for n := range 6 {
				if n == i%6 {
					go cancel()
				}
				if _, err := tx.Exec(t.Context(), "INSERT INTO t(v) VALUES(?)", n); err != nil {
					return err
				}
			}
			<-ctx.Done()
			return nil
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("round %d: %v", i, err)
		}
	}
	if n := systemtest.Count(t, db, "t"); n != 0 {
		t.Errorf("%d rows", n)
	}
}
