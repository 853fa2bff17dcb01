package scale_test

import (
	"database/sql"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
)

// TestConnectionMemory says what connections of one small database take: those that have
// read, and those of DB.SQL that have written.
func TestConnectionMemory(t *testing.T) {
	if os.Getenv("DRIFTDB_MEMORY") == "" {
		t.Skip("set DRIFTDB_MEMORY, or: make memory")
	}
	if _, err := resident("VmRSS"); err != nil {
		t.Skip(err)
	}
	for _, kind := range []string{"read", "write"} {
		text, err := connectionRun.Command(t.Context(), kind).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		t.Logf("a connection that has %s: %s", map[string]string{"read": "read", "write": "written"}[kind], text)
	}
}

// connectionRun opens connections that each do one thing, and prints what one of them takes.
var connectionRun = subprocess.Register("connectionRun", func(t testing.TB, args []string) {
	const connections = 200
	cfg := systemtest.Config(t)
	cfg.Store = nil
	db, err := driftdb.Open(t.Context(), cfg)
	systemtest.Check(t, err)
	defer db.Close()
	systemtest.Exec(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)")
	var conns []*sql.Conn
	use := func() {
		c, err := db.SQL().Conn(t.Context())
		systemtest.Check(t, err)
		conns = append(conns, c)
		if args[0] == "write" {
			_, err = c.ExecContext(t.Context(), "INSERT INTO t (a) VALUES ('x')")
			systemtest.Check(t, err)
		}
		systemtest.Check(t, c.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(new(int)))
	}
	use() // what the first one loads, all share
	before := used(t)
	for range connections {
		use()
	}
	fmt.Println(strconv.FormatInt((used(t)-before)/connections>>10, 10) + " KiB")
	for _, c := range conns {
		systemtest.Check(t, c.Close())
	}
})

// used is what is resident, without garbage.
func used(t testing.TB) int64 {
	runtime.GC()
	n, err := resident("VmRSS")
	systemtest.Check(t, err)
	return n
}
