package capture_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestChunks: transactions whose changes are many times larger than a chunk of
// the buffer, with savepoints that are rolled back across chunks.
func TestChunks(t *testing.T) {
	s := newSource(t, 0)
	c := s.conn(t)
	mustRun(t, c, "CREATE TABLE b(id INTEGER PRIMARY KEY, data BLOB)")
	rnd := rand.New(rand.NewPCG(7, 7))
	insert := func(n int) {
		for range n {
			size := rnd.IntN(700_000)
			if rnd.IntN(3) == 0 {
				size = rnd.IntN(30)
			}
			mustRun(t, c, "INSERT INTO b(data) VALUES(?)", bytes.Repeat([]byte{byte(rnd.Int())}, size))
		}
	}
	for round := range 12 {
		mustRun(t, c, "BEGIN")
		insert(rnd.IntN(8))
		for depth := range 1 + rnd.IntN(3) {
			mustRun(t, c, fmt.Sprintf("SAVEPOINT s%d", depth))
			insert(rnd.IntN(8))
		}
		if round%3 > 0 {
			mustRun(t, c, "ROLLBACK TO s0")
		}
		insert(rnd.IntN(3))
		mustRun(t, c, "COMMIT")
	}
	s.mustEqual(t)
}

func mustRun(t *testing.T, c *sql.Conn, query string, args ...any) {
	t.Helper()
	if _, err := c.ExecContext(context.Background(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
