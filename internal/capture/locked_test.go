package capture_test

import (
	"fmt"
	"testing"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// TestLocked: a statement that is compiled under the write lock does what it does
// without that, whether it succeeds or not.
func TestLocked(t *testing.T) {
	for _, restless := range []bool{false, true} {
		s := newSource(t, 0)
		c, err := capture.Open(s.path, s.opts, s.hub)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		exec := func(query string) error {
			_, err := c.ExecContext(t.Context(), query, nil)
			return err
		}
		if err := exec("CREATE TABLE t(a PRIMARY KEY)"); err != nil {
			t.Fatal(err)
		}
		if restless && !c.Overtaken(fmt.Errorf("wrapped: %w", sqlite.NewError(17, ""))) || c.Restless() != restless {
			t.Fatalf("restless: %v", c.Restless())
		}
		for query, rows := range map[string]int64{
			"INSERT INTO t VALUES(1), (2)":                  3,
			"INSERT OR FAIL INTO t VALUES(3), (0), (4)":     2,
			"INSERT OR ABORT INTO t VALUES(3), (0), (4)":    1,
			"INSERT OR ROLLBACK INTO t VALUES(3), (0), (4)": 1,
			"INSERT OR IGNORE INTO t VALUES(3), (0), (4)":   3,
		} {
			for _, q := range []string{"DELETE FROM t", "INSERT INTO t VALUES(0)"} {
				if err := exec(q); err != nil {
					t.Fatal(err)
				}
			}
			_ = exec(query)
			if n, err := c.Int("SELECT count(*) FROM t"); err != nil || n != rows {
				t.Errorf("restless %v, %s: %d rows, want %d; %v", restless, query, n, rows, err)
			}
			if !c.Autocommit() {
				t.Errorf("restless %v, %s: a transaction is open", restless, query)
			}
		}
		s.mustEqual(t)
	}
}
