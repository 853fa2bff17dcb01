package scan

import (
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// BenchmarkAll scans a table of seven columns.
func BenchmarkAll(b *testing.B) {
	const rows = 200_000
	c, err := new(sqlite.Driver).Open(filepath.Join(b.TempDir(), "x.db"), sqlite.Options{CacheKiB: 64 << 10})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec(`CREATE TABLE users(id TEXT PRIMARY KEY, createdAt INTEGER, updatedAt INTEGER, name TEXT, email TEXT, age INTEGER, score REAL);
		BEGIN;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 200000)
		INSERT INTO users SELECT printf('01890000-0000-7000-8000-%012d', i), 1700000000000+i, 1700000000000+i, 'Person ' || i, 'person' || i || '@example.com', i % 90, i / 7.0 FROM n;
		COMMIT`); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := All(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}
