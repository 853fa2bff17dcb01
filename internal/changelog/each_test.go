package changelog

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// TestEachHoldsNothing: the WAL can begin anew while the log is being worked
// on, however long that takes, and what is read is all there.
func TestEachHoldsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.sqlite")
	open := func() *sqlite.Conn {
		c, err := new(sqlite.Driver).Open(path, sqlite.Options{BusyTimeout: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	writer := open()
	if _, err := Init(writer, ""); err != nil {
		t.Fatal(err)
	}
	const rows = 100
	row := make([]byte, eachChunk/10)
	add := func(sequence int64) {
		if err := insert(writer, sequence, time.Now().UnixMilli(), 0, change.AppendBarrier(change.AppendHeader(nil, nil), string(row))); err != nil {
			t.Fatal(err)
		}
	}
	last, err := Last(writer)
	if err != nil {
		t.Fatal(err)
	}
	for n := range int64(rows) {
		add(last + 1 + n)
	}
	log := View(open())
	seen := int64(0)
	err = log.Each(last+1, func(tr Transaction) error {
		seen++
		if tr.First != last+seen || tr.Size() < len(row) {
			t.Fatalf("transaction %d has the sequence %d and %d bytes", seen, tr.First, tr.Size())
		}
		if seen <= rows {
			add(last + rows + seen) // is read as well
		}
		return writer.Each("PRAGMA wal_checkpoint(TRUNCATE)", func(st *sqlite.Stmt) error {
			if st.Int64(0) != 0 {
				t.Errorf("transaction %d: the log is being read", seen)
			}
			return nil
		})
	})
	if err != nil || seen != 2*rows {
		t.Errorf("%d transactions, want %d: %v", seen, 2*rows, err)
	}
}
