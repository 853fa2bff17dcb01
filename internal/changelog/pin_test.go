package changelog

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// TestLogIsReadWhileTheSchemaChanges: whenever the log's connection reads the schema,
// another one changes it meanwhile. A statement that runs outside a transaction is given
// up by SQLite after 50 attempts.
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
	log, err := Open(connect())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	version := 1000
	change := func() {
		version++
		if err := other.Exec(fmt.Sprintf("PRAGMA schema_version=%d", version)); err != nil {
			t.Error(err)
		}
	}
	busy := func(*libc.TLS, uintptr) int32 { change(); return 0 }
	for name, read := range map[string]func() error{
		"Last":     func() error { _, err := log.Last(); return err },
		"TimeAt":   func() error { _, err := log.TimeAt(1); return err },
		"Earliest": func() error { _, err := log.Earliest(0, 1); return err },
		"Oldest":   func() error { _, err := log.Oldest(); return err },
		"Jobs":     func() error { _, err := log.Jobs(Upload); return err },
		"Each":     func() error { return log.Each(1, func(Transaction) error { return nil }) },
	} {
		change()
		lib.Xsqlite3_progress_handler(log.c.TLS, log.c.DB, 1, sqlite.CFunc(busy), 0)
		err := read()
		lib.Xsqlite3_progress_handler(log.c.TLS, log.c.DB, 0, 0, 0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
