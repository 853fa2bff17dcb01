package vfs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
)

// TestCounts: what one statement asks of the system, with the platform's VFS and with
// ours. docs/BENCHMARKS.md has the table that -v prints.
func TestCounts(t *testing.T) {
	wal := call{"wal", "write"}
	for _, work := range []struct {
		name, script   string
		before, writes int // to the WAL
	}{
		{"insert, table and two indexes", "INSERT INTO t(a, b) VALUES('x', 5)", 6, 1},
		{"update, no index", "UPDATE t SET c = 'y' WHERE id = 77", 2, 1},
		{"lookup", "SELECT a FROM t WHERE id = 77", 0, 0},
		{"100 rows in a transaction", fmt.Sprintf("BEGIN; %s; COMMIT", rowsOf(100)), 12, 1},
		{"10,000 rows in a transaction", fmt.Sprintf("BEGIN; %s; COMMIT", rowsOf(10_000)), 260, 5},
	} {
		var made [2]map[call]int
		for i, vfs := range []string{plain, joined} {
			c := connect(t, vfs, filepath.Join(t.TempDir(), "app.db"))
			c.exec("PRAGMA wal_autocheckpoint(0); PRAGMA synchronous=NORMAL; CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, c);" +
				"CREATE INDEX t_b ON t(b); CREATE INDEX t_a ON t(a);" + rowsOf(1000))
			c.rows("SELECT a FROM t WHERE id = 77") // the schema is loaded
			made[i] = spied.during(func() { c.exec(work.script) })
			t.Logf("%-30s %-16s %s", work.name, vfs, table(made[i]))
		}
		if made[0][wal] != work.before || made[1][wal] != work.writes {
			t.Errorf("%s: %d writes, and %d with our VFS; expected %d and %d",
				work.name, made[0][wal], made[1][wal], work.before, work.writes)
		}
		delete(made[0], wal)
		delete(made[1], wal)
		if fmt.Sprint(made[0]) != fmt.Sprint(made[1]) {
			t.Errorf("%s: other calls differ: %s; %s", work.name, table(made[0]), table(made[1]))
		}
	}
}

func rowsOf(n int) string {
	return fmt.Sprintf("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n LIMIT %d) "+
		"INSERT INTO t(a, b) SELECT hex(i), i FROM n", n)
}

// TestNothingLeft: connections that are opened, used and closed leave no buffers behind.
// What Go maps meanwhile is not in every round.
func TestNothingLeft(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the address space is read from /proc")
	}
	path := filepath.Join(t.TempDir(), "app.db")
	use := func(n int) {
		for i := range n {
			c := connect(t, joined, path, "_pragma=synchronous(OFF)", "_pragma=journal_mode(WAL)")
			c.exec(fmt.Sprintf("CREATE TABLE IF NOT EXISTS t(a); INSERT INTO t VALUES(%d)", i))
			if i%3 == 0 {
				c.exec("PRAGMA journal_mode=DELETE; PRAGMA journal_mode=WAL; INSERT INTO t VALUES(-1)")
			}
			c.close()
		}
	}
	use(20)
	const n = 100
	least := 1 << 40
	for range 4 {
		before := addressSpace(t)
		use(n)
		least = min(least, addressSpace(t)-before)
	}
	if least > n/2*capacity {
		t.Errorf("%d MiB more after every %d connections", least>>20, n)
	}
}

// addressSpace is how many bytes the process has mapped.
func addressSpace(t *testing.T) int {
	t.Helper()
	stat, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(stat)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
