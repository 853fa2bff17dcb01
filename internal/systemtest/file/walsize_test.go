package file_test

import (
	"context"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestWALSize: Metrics shows the WAL that a read holds up, and its size is part
// of the database's.
func TestWALSize(t *testing.T) {
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Some(t, db, "t", 1)
	err := db.ReadTx(t.Context(), func(tx *driftdb.Tx) error {
		if _, err := driftdb.Select[int64](t.Context(), tx, "SELECT count(*) FROM t"); err != nil {
			return err
		}
		before := db.Metrics().WALSizeBytes
		for range 4 {
			// Not of this transaction: another goroutine's write.
			if err := <-systemtest.InGoroutine(func() error {
				_, err := db.Exec(context.Background(), "INSERT INTO t(v) VALUES(?)", strings.Repeat("x", 1<<20))
				return err
			}); err != nil {
				return err
			}
		}
		m := db.Metrics()
		if m.WALSizeBytes < before+4<<20 || m.DBSizeBytes <= m.WALSizeBytes {
			t.Errorf("a WAL of %d bytes, %d before four MiB; the database has %d", m.WALSizeBytes, before, m.DBSizeBytes)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
