package changelog

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// TestLogIsReadWhileTheSchemaChanges: another connection changes the schema in less time
// than this one takes to read it. SQLite gives a statement up after 50 attempts.
func TestLogIsReadWhileTheSchemaChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sqlite")
	connect := func() *sqlite.Conn {
		c, err := new(sqlite.Driver).Open(path, sqlite.Options{Synchronous: sqlite.SyncOff})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	other := connect()
	defer other.Close()
	if _, err := Init(other, ""); err != nil {
		t.Fatal(err)
	}
	script := "BEGIN;"
	for i := range 1000 {
		script += fmt.Sprintf("CREATE TABLE t%d(id INTEGER PRIMARY KEY, a TEXT NOT NULL, b REAL, UNIQUE(a));", i)
	}
	if err := other.Exec(script + "COMMIT"); err != nil {
		t.Fatal(err)
	}
	log, err := Open(connect())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()

	stop := make(chan struct{})
	var running sync.WaitGroup
	defer running.Wait()
	defer close(stop)
	running.Go(func() {
		for version := 1; ; version++ {
			select {
			case <-stop:
				return
			default:
			}
			// The cheapest change of a schema: its number is another one.
			if err := other.Exec(fmt.Sprintf("PRAGMA schema_version=%d", 1000+version)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 5 {
		if _, err := log.Last(); err != nil {
			t.Fatal(err)
		}
		if _, err := log.Jobs(Upload); err != nil {
			t.Fatal(err)
		}
		if err := log.Each(1, func(Transaction) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
}
