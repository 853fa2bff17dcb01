package capture_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/driftdb/driftdb-go/internal/capture"
)

// TestRolledBackSchema: a connection does not go on with a schema that was rolled back, even if
// another one has the same number by then and other pages. SQLite by itself does: see reread.
func TestRolledBackSchema(t *testing.T) {
	for name, undo := range map[string][]string{
		"rolled back":                         {"ROLLBACK"},
		"rolled back by a failing statement":  {"INSERT OR ROLLBACK INTO b VALUES(1)"},
		"rolled back to a savepoint":          {"ROLLBACK TO s", "COMMIT"},
		"rolled back with the rest of script": {"SELECT 1; ROLLBACK"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t, 0)
			db := sql.OpenDB(capture.NewConnector(s.open, func() error { return nil }, nil, nil))
			defer db.Close()
			one, other := connOf(t, db), connOf(t, db)
			for _, query := range []string{"CREATE TABLE a(x)", "CREATE TABLE strict(x INT) STRICT", "CREATE TABLE b(x UNIQUE)", "INSERT INTO b VALUES(1), (2)", "DROP TABLE a"} {
				run(t, other, query)
			}
			prepared, err := one.PrepareContext(context.Background(), "SELECT count(*) FROM b")
			if err != nil {
				t.Fatal(err)
			}
			defer prepared.Close()
			run(t, one, "BEGIN")
			run(t, one, "SAVEPOINT s")
			run(t, one, "CREATE TABLE c(x)")
			if _, err := one.ExecContext(context.Background(), "ALTER TABLE strict ADD COLUMN y AS (x)"); err == nil {
				t.Fatal("a column without a type was added to a STRICT table")
			}
			run(t, one, "SELECT count(*) FROM b") // reads the schema
			for _, query := range undo {
				_, _ = one.ExecContext(context.Background(), query)
			}
			run(t, other, "VACUUM") // moves b, and counts the schema up
			n, m := 0, 0
			if err := one.QueryRowContext(context.Background(), "SELECT count(*) FROM b").Scan(&n); err != nil || n != 2 {
				t.Errorf("%d rows: %v", n, err)
			}
			if err := prepared.QueryRow().Scan(&m); err != nil || m != 2 {
				t.Errorf("%d rows, by a statement prepared before: %v", m, err)
			}
			run(t, one, "INSERT INTO b VALUES(3)")
			var check string
			if err := other.QueryRowContext(context.Background(), "PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
				t.Errorf("%s: %v", check, err)
			}
		})
	}
}

func connOf(t *testing.T, db *sql.DB) *sql.Conn {
	t.Helper()
	c, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func run(t *testing.T, c *sql.Conn, query string) {
	t.Helper()
	if _, err := c.ExecContext(context.Background(), query); err != nil {
		t.Errorf("%s: %v", query, err)
	}
}
