package capture_test

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
)

// turn is one that is always free, and counts.
type turn struct {
	held        bool
	taken, left int
	gaveWay     int
	waits       chan bool // closed when somebody waits, who does so until stopped
}

func (t *turn) Try() bool {
	if t.held {
		return false
	}
	t.held = true
	t.taken++
	return true
}

func (t *turn) Wait(_ time.Duration, stopped func() bool) bool {
	if t.waits != nil {
		close(t.waits)
		for !stopped() {
			runtime.Gosched()
		}
	}
	return t.Try()
}

func (t *turn) Leave() { t.held = false; t.left++ }

func (t *turn) GiveWay() { t.gaveWay++ }

// A connection has the turn from its first write to the end of the transaction, whatever
// statement begins or ends it, and never otherwise.
func TestTurn(t *testing.T) {
	s := newSource(t, 0)
	if _, err := s.pool(t).Exec("CREATE TABLE t(a UNIQUE)"); err != nil {
		t.Fatal(err)
	}
	var have turn
	db := sql.OpenDB(capture.NewConnector(s.open, func() error { return nil }, nil, &have))
	defer db.Close()
	ctx := context.Background()
	c, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before := have.taken
	run := func(query string) {
		t.Helper()
		_, _ = c.ExecContext(ctx, query)
	}
	check := func(what string, held bool) {
		t.Helper()
		if have.held != held {
			t.Errorf("after %s: has the turn: %v", what, have.held)
		}
	}
	for _, q := range []struct {
		sql  string
		held bool
	}{
		{"INSERT INTO t VALUES(1)", false},
		{"INSERT INTO t VALUES(1)", false}, // fails
		{"SELECT * FROM t", false},
		{"BEGIN", false},
		{"SELECT * FROM t", false},
		{"INSERT INTO t VALUES(2)", true},
		{"SELECT * FROM t", true},
		{"COMMIT", false},
		{"BEGIN IMMEDIATE", true},
		{"ROLLBACK", false},
		{"SAVEPOINT a", false},
		{"INSERT INTO t VALUES(3)", true},
		{"RELEASE a", false},
		{"BEGIN; INSERT INTO t VALUES(4); COMMIT; INSERT INTO t VALUES(5)", false},
		{"BEGIN; INSERT INTO t VALUES(6)", true},
		{"INSERT OR ROLLBACK INTO t VALUES(6)", false},
		{"CREATE TABLE u(a)", false},
		{"PRAGMA wal_checkpoint(TRUNCATE)", false},
		{"VACUUM", false},
	} {
		left, gaveWay := have.left, have.gaveWay
		run(q.sql)
		if check(q.sql, q.held); !q.held && left == have.left && gaveWay == have.gaveWay {
			t.Errorf("after %s: the connection has not given way", q.sql)
		}
	}
	if have.taken == before {
		t.Error("no statement has taken the turn")
	}

	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	check("BeginTx", true)
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
	check("Commit", false)

	rows, err := c.QueryContext(ctx, "INSERT INTO t VALUES(10), (11) RETURNING a")
	if err != nil {
		t.Fatal(err)
	}
	if !rows.Next() {
		t.Error("no rows")
	}
	check("the first row", true)
	if err := rows.Close(); err != nil {
		t.Error(err)
	}
	check("closing the rows", false)

	have.held = true // another connection's
	run("PRAGMA busy_timeout = 0")
	if _, err := c.ExecContext(ctx, "INSERT INTO t VALUES(20)"); err == nil {
		t.Error("wrote without the turn")
	}
	have.held = false

	run("BEGIN IMMEDIATE")
	check("BEGIN IMMEDIATE", true)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	check("closing the connection in a transaction", false)
	if have.taken != have.left {
		t.Errorf("taken %d times, left %d times", have.taken, have.left)
	}
}

// TestTurnShut: a statement that waits for the turn does not write once the connector is shut,
// even if it gets the turn, and says why.
func TestTurnShut(t *testing.T) {
	for _, free := range []bool{false, true} {
		s := newSource(t, 0)
		if _, err := s.pool(t).Exec("CREATE TABLE t(a)"); err != nil {
			t.Fatal(err)
		}
		have := &turn{waits: make(chan bool)}
		k := capture.NewConnector(s.open, func() error { return nil }, nil, have)
		db := sql.OpenDB(k)
		c, err := db.Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		have.held = true
		failed := make(chan error)
		go func() {
			_, err := c.ExecContext(context.Background(), "INSERT INTO t VALUES(1)")
			failed <- err
		}()
		<-have.waits
		have.held = !free
		k.Shut(errGone)
		if err := <-failed; !errors.Is(err, errGone) {
			t.Errorf("free %v: %v", free, err)
		}
		if have.taken != have.left {
			t.Errorf("free %v: taken %d times, left %d times", free, have.taken, have.left)
		}
		if err := k.Recall(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		db.Close()
		n := -1
		if err := s.pool(t).QueryRow("SELECT count(*) FROM t").Scan(&n); err != nil || n != 0 {
			t.Errorf("free %v: %d rows, %v", free, n, err)
		}
	}
}
