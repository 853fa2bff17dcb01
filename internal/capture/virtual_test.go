package capture_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestVirtualAlone: a statement to a virtual table that puts off all its own writing
// until the commit is logged, however it is run.
func TestVirtualAlone(t *testing.T) {
	for _, options := range []string{"content='doc'", "content='doc', columnsize=0", "content='', columnsize=0", "columnsize=0"} {
		for _, statement := range []string{
			"INSERT INTO ft(rowid, a) VALUES(%d, 'three')",
			"insert or replace into main.\"FT\"(rowid, a) values(%d, 'three')",
			"REPLACE INTO [ft](rowid, a) VALUES(%d, 'three')",
			"WITH x(a) AS (SELECT 'three') INSERT INTO ft(rowid, a) SELECT %d, a FROM x",
			"INSERT INTO ft(ft, rowid, a) VALUES('delete', %d, 'four')",
			"INSERT INTO ft(ft, rank) VALUES('pgsz', 64 + %d)",
			"DELETE FROM ft WHERE rowid = 1 AND %d > 0",
			"UPDATE OR IGNORE ft SET a = 'five' WHERE rowid = 1 AND %d > 0",
		} {
			s := newSource(t, 0)
			c := s.conn(t)
			x := func(q string) error { _, err := c.ExecContext(t.Context(), q); return err }
			if err := x("CREATE TABLE doc(a); CREATE VIRTUAL TABLE ft USING fts5(a, " + options + "); INSERT INTO doc VALUES('one two'); INSERT INTO ft(rowid, a) VALUES(1, 'one two')"); err != nil {
				t.Fatal(err)
			}
			for i, run := range []func(string) error{
				x,
				func(q string) error { return x("BEGIN; " + q + "; COMMIT") },
				func(q string) error { return x("SAVEPOINT s; " + q + "; RELEASE s") },
				func(q string) error {
					st, err := c.PrepareContext(t.Context(), q)
					if err == nil {
						_, err = st.ExecContext(t.Context())
						st.Close()
					}
					return err
				},
				func(q string) error {
					rows, err := c.QueryContext(t.Context(), q)
					if err == nil {
						for rows.Next() {
						}
						err = rows.Err()
						rows.Close()
					}
					return err
				},
			} {
				q := fmt.Sprintf(statement, i+2)
				if err := run(q); err != nil && !complaint(err) {
					t.Errorf("%s, way %d: %s: %v", options, i, q, err)
				}
				_ = x("ROLLBACK") // what is left of a script that failed
			}
			c.Close()
			if reasons := s.barriers(t); len(reasons) > 0 {
				t.Errorf("%s, %s: barriers %q", options, statement, reasons)
			}
			s.mustEqual(t)
		}
	}
}

// complaint says that err is FTS5's own: not each of its commands goes with each of its
// kinds of tables.
func complaint(err error) bool {
	return strings.Contains(err.Error(), "(267)") || strings.Contains(err.Error(), "contentless fts5") ||
		strings.Contains(err.Error(), "SQL logic error")
}
