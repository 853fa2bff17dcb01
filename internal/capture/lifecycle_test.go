package capture

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

func newFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := changelog.Init(c, ""); err != nil {
		t.Fatal(err)
	}
	return path
}

// known is how many connections SQLite's callbacks can find. The tests here do
// not run in parallel with others, so there is none but theirs.
func known() (byID, byDB int) {
	recorders.Range(func(any, any) bool { byID++; return true })
	byHandle.Range(func(any, any) bool { byDB++; return true })
	return byID, byDB
}

func TestConnectionsLeaveNothing(t *testing.T) {
	path, hub := newFile(t), NewShared(0, 0, nil)
	opts := sqlite.Options{Synchronous: sqlite.SyncOff}
	anchor, err := new(sqlite.Driver).Open(path, opts) // the last one to close would tidy the WAL up each time
	if err != nil {
		t.Fatal(err)
	}
	defer anchor.Close()
	n := 1000
	if testing.Short() {
		n = 50
	}
	use := func() {
		c, err := Open(path, opts, hub)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []string{"CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY AUTOINCREMENT, a)", "INSERT INTO t(a) VALUES(1)", "BEGIN; INSERT INTO t(a) VALUES(2)"} {
			if _, err := c.ExecContext(t.Context(), q, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil { // in the middle of a transaction
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		use()
	}
	memory := resident(t)
	for range n {
		use()
	}
	if a, b := known(); a != 0 || b != 0 {
		t.Errorf("%d and %d connections are still known", a, b)
	}
	// A connection that is not freed keeps more than 100 KiB. The race detector
	// alone adds some MiB.
	if grown := resident(t) - memory; grown > 32<<20 {
		t.Errorf("%d connections leave %d KiB behind", n, grown>>10)
	} else {
		t.Logf("%d connections leave %d KiB behind", n, grown>>10)
	}
}

func TestOpenThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bare.db")
	plain, err := new(sqlite.Driver).Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, script := range []string{"", "CREATE TABLE _driftdb_log(sequence)", "DROP TABLE _driftdb_log; CREATE TABLE _driftdb_log(sequence INTEGER PRIMARY KEY, count, time, schema, data)"} {
		if err := plain.Exec(script); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if c, err := Open(path, sqlite.Options{}, NewShared(0, 0, nil)); err == nil {
				c.Close()
				t.Fatal("a database without our tables was opened")
			}
		}
	}
	if a, b := known(); a != 0 || b != 0 {
		t.Errorf("%d and %d connections are still known", a, b)
	}
	if err := plain.Exec("DROP TABLE _driftdb_log"); err != nil { // nobody holds a lock
		t.Fatal(err)
	}
}

// TestStatementsOutliveTransactions closes prepared statements late, twice and
// in any order, schema statements and scripts among them.
func TestStatementsOutliveTransactions(t *testing.T) {
	path := newFile(t)
	hub := NewShared(0, 0, nil)
	db := sql.OpenDB(NewConnector(func() (*Conn, error) { return Open(path, sqlite.Options{}, hub) }, func() error { return nil }, nil, nil))
	defer db.Close()
	var all []*sql.Stmt
	for _, q := range []string{"CREATE TABLE IF NOT EXISTS t(a)", "PRAGMA user_version=3", "SELECT 1; SELECT 2", "CREATE TABLE IF NOT EXISTS u(a); INSERT INTO u VALUES(1)", "-- c", ""} {
		st, err := db.Prepare(q)
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		all = append(all, st)
		for range 2 {
			if _, err := st.Exec(); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
			rows, err := st.Query()
			if err != nil {
				t.Fatalf("%s: %v", q, err)
			}
			rows.Close()
		}
	}
	all[0].Close()
	all[0].Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range all[1:] {
		if _, err := tx.Stmt(st).Exec(); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, st := range all {
		st.Close()
	}
	if a, b := known(); a != 0 || b != 0 {
		t.Errorf("%d and %d connections are still known", a, b)
	}
}

// TestOurTableIsGone: a transaction that we could not take part in is not
// committed, whatever comes between its change and its COMMIT.
func TestOurTableIsGone(t *testing.T) {
	c, err := Open(newFile(t), sqlite.Options{}, NewShared(0, 0, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exec := func(script string) error {
		_, err := c.ExecContext(t.Context(), script, nil)
		return err
	}
	if err := exec("CREATE TABLE t(a); SELECT 1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("DROP TABLE temp._driftdb_cap0"); err != nil { // past us
		t.Fatal(err)
	}
	for _, script := range []string{"INSERT INTO t VALUES(1)", "BEGIN; INSERT INTO t VALUES(1); COMMIT", "BEGIN; INSERT INTO t VALUES(1); SELECT 1; UPDATE t SET a=2 WHERE 0; COMMIT", "SAVEPOINT s; INSERT INTO t VALUES(1); RELEASE s"} {
		if err := exec(script); err == nil {
			t.Errorf("%s was committed without a log row", script)
		}
		c.rollback()
	}
	if n, err := c.Int("SELECT count(*) FROM t"); err != nil || n != 0 {
		t.Errorf("%d rows, %v", n, err)
	}
	if err := exec("PRAGMA temp_store=MEMORY; CREATE TABLE u(a)"); err != nil { // which makes them again
		t.Error(err)
	}
}

// resident is the process's memory, or 0 where we do not know how to ask.
func resident(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
