package capture_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

const endless = "WITH c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) INSERT INTO t(a) SELECT x FROM c"

func isOver(err error) bool {
	return err != nil && strings.Contains(err.Error(), "the transaction is over")
}

// TestTransactionOver: when SQLite has rolled a transaction back by itself, no later
// statement of it runs, and its Commit fails; the next transaction is a new one.
func TestTransactionOver(t *testing.T) {
	for name, fail := range map[string]string{
		"interrupted":          endless,
		"ON CONFLICT ROLLBACK": "INSERT OR ROLLBACK INTO t(a) VALUES('one')",
		"RAISE(ROLLBACK)":      "DELETE FROM t",
		"RETURNING":            "INSERT OR ROLLBACK INTO t(a) VALUES('one') RETURNING a",
	} {
		for _, end := range []string{"Commit", "Rollback"} {
			t.Run(name+" "+end, func(t *testing.T) {
				s := newSource(t, 0)
				db := s.pool(t)
				db.SetMaxOpenConns(1)
				mustExec(t, db, "CREATE TABLE t(a UNIQUE); CREATE TRIGGER g BEFORE DELETE ON t BEGIN SELECT RAISE(ROLLBACK, 'no'); END; INSERT INTO t VALUES('one')")
				tx, err := db.Begin()
				if err != nil {
					t.Fatal(err)
				}
				st, err := tx.Prepare("INSERT INTO t VALUES('prepared')")
				if err != nil {
					t.Fatal(err)
				}
				mustExec(t, tx, "INSERT INTO t VALUES('two')")
				if err := interrupted(tx, fail); err == nil {
					t.Fatal("the statement should fail")
				}
				if _, err := tx.Exec("INSERT INTO t VALUES('three')"); !isOver(err) {
					t.Error("Exec:", err)
				}
				if err := tx.QueryRow("INSERT INTO t VALUES('four') RETURNING a").Scan(new(string)); !isOver(err) {
					t.Error("Query:", err)
				}
				if _, err := st.Exec(); !isOver(err) {
					t.Error("prepared:", err)
				}
				if end == "Commit" {
					if err := tx.Commit(); !isOver(err) {
						t.Error("Commit:", err)
					}
				} else if err := tx.Rollback(); err != nil {
					t.Error("Rollback:", err)
				}
				mustExec(t, db, "INSERT INTO t VALUES('five')")
				if got := s.text(t, "SELECT group_concat(a) FROM (SELECT a FROM t ORDER BY rowid)"); got != "one,five" {
					t.Errorf("rows: %s", got)
				}
				s.mustEqual(t)
			})
		}
	}
}

func interrupted(tx *sql.Tx, query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if query == endless {
		_, err := tx.ExecContext(ctx, query)
		return err
	}
	rows, err := tx.Query(query)
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}

// TestOwnTransactionOver: the same for a BEGIN of the program's own, but there an
// INSERT OR ROLLBACK is what it wished.
func TestOwnTransactionOver(t *testing.T) {
	s := newSource(t, 0)
	c := s.conn(t)
	exec(t, c, "CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES('one')")
	exec(t, c, "BEGIN")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.ExecContext(ctx, endless); err == nil {
		t.Fatal("the statement should be interrupted")
	}
	for _, query := range []string{"INSERT INTO t VALUES('two')", "ROLLBACK TO x", "BEGIN"} {
		if _, err := c.ExecContext(t.Context(), query); !isOver(err) {
			t.Errorf("%s: %v", query, err)
		}
	}
	if _, err := c.ExecContext(t.Context(), "COMMIT"); err == nil || isOver(err) {
		t.Error("COMMIT:", err)
	}
	exec(t, c, "BEGIN")
	if _, err := c.ExecContext(t.Context(), "INSERT OR ROLLBACK INTO t VALUES('one')"); !sqlite.IsConstraint(err) {
		t.Fatal(err)
	}
	exec(t, c, "INSERT INTO t VALUES('three')")
	if got := s.text(t, "SELECT group_concat(a) FROM (SELECT a FROM t ORDER BY rowid)"); got != "one,three" {
		t.Errorf("rows: %s", got)
	}
}

// TestOwnTransactionFull: what SQLite rolls back for want of space is no wish of the
// program's, either.
func TestOwnTransactionFull(t *testing.T) {
	s := newSource(t, 0)
	c := s.conn(t)
	exec(t, c, "CREATE TABLE t(a); INSERT INTO t VALUES('one'); PRAGMA cache_size=5; PRAGMA max_page_count=40")
	exec(t, c, "BEGIN; INSERT INTO t VALUES('two')")
	if _, err := c.ExecContext(t.Context(), "INSERT INTO t VALUES(zeroblob(2000000))"); !sqlite.IsFull(err) {
		t.Fatal(err)
	}
	if _, err := c.ExecContext(t.Context(), "INSERT INTO t VALUES('three')"); !isOver(err) {
		t.Error("INSERT:", err)
	}
	if _, err := c.ExecContext(t.Context(), "ROLLBACK"); isOver(err) {
		t.Error("ROLLBACK:", err)
	}
	exec(t, c, "BEGIN; INSERT INTO t VALUES('four'); COMMIT")
	if _, err := c.ExecContext(t.Context(), "BEGIN; ROLLBACK; no SQL"); err == nil {
		t.Error("no error")
	}
	exec(t, c, "BEGIN; INSERT INTO t VALUES('five')")
	if _, err := c.ExecContext(t.Context(), "ROLLBACK; no SQL"); err == nil {
		t.Error("no error")
	}
	exec(t, c, "INSERT INTO t VALUES('six')") // that rollback was the program's own
	if got := s.text(t, "SELECT group_concat(a) FROM (SELECT a FROM t ORDER BY rowid)"); got != "one,four,six" {
		t.Errorf("rows: %s", got)
	}
}

// TestBeginContext: a BeginTx that waits for the write lock ends with its context, and
// with the context's error.
func TestBeginContext(t *testing.T) {
	s := newSource(t, 0)
	holder := s.plain(t)
	if err := holder.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := s.conn(t)
	_, err := c.BeginTx(ctx, nil)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "write lock") {
		t.Errorf("BeginTx: %v", err)
	}
	if err := holder.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	tx, err := c.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
}

func mustExec(t *testing.T, on interface {
	Exec(string, ...any) (sql.Result, error)
}, query string) {
	t.Helper()
	if _, err := on.Exec(query); err != nil {
		t.Fatal(err)
	}
}
