package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// TestTempStore: what SQLite sorts and rebuilds goes into a file when it grows, on
// every kind of connection, unless the program says otherwise.
func TestTempStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	for _, o := range []sqlite.Options{{}, {QueryOnly: true}, {KeepJournal: true}, {Immutable: true}} {
		c, err := new(sqlite.Driver).Open(path, o)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.Int("PRAGMA temp_store"); err != nil || n != 1 {
			t.Errorf("%+v: temp_store is %d, %v", o, n, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
