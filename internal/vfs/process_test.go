package vfs

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// shell runs the sqlite3 shell on a file.
func shell(t testing.TB, path, script string) string {
	t.Helper()
	if _, err := exec.LookPath("sqlite3"); err != nil {
		if os.Getenv("DRIFTDB_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skip("there is no sqlite3")
	}
	out, err := exec.CommandContext(t.Context(), "sqlite3", "-batch", "-cmd", ".timeout 60000", path, script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// TestInTurn: the sqlite3 shell looks, copies the WAL back and writes, in turn with a
// connection of ours, which rolls back much of what it spills.
func TestInTurn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	c := connect(t, joined, path, "_pragma=journal_mode(WAL)", "_pragma=cache_size(10)", "_pragma=cache_spill(10)",
		"_pragma=busy_timeout(60000)")
	c.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b UNIQUE)")
	rows := 0
	expect := func() {
		t.Helper()
		is := shell(t, path, "PRAGMA wal_checkpoint(PASSIVE); SELECT count(*) FROM t; PRAGMA integrity_check")
		if !strings.HasSuffix(is, fmt.Sprintf("\n%d\nok\n", rows)) {
			t.Fatalf("expected %d rows, and the shell says %s", rows, is)
		}
	}
	rounds := 15
	if testing.Short() {
		rounds = 2
	}
	for i := range rounds {
		c.exec("BEGIN IMMEDIATE; " + many(i*1000, 300))
		expect()
		if i%3 == 0 {
			c.exec("COMMIT")
			rows += 300
		} else {
			c.exec("ROLLBACK")
		}
		shell(t, path, many(i*1000+400, 1+i*5))
		rows += 1 + i*5
		expect()
		c.exec(fmt.Sprintf("UPDATE t SET b = b||'%d' WHERE id %% 7 = 1", i))
		if i%5 == 4 {
			shell(t, path, "PRAGMA wal_checkpoint(TRUNCATE)")
		}
	}
	expect()
	c.sound("at the end")
}

const killedChild = "DRIFTDB_TEST_VFS_CHILD"

// TestKilled: a process with two connections of ours is killed at a random moment, again
// and again. Whatever it said was committed is there, no transaction is there in part, and
// the sqlite3 shell finds the database sound.
func TestKilled(t *testing.T) {
	if path := os.Getenv(killedChild); path != "" {
		writeForever(t, path)
	}
	kills := 10
	if n, err := strconv.Atoi(os.Getenv("DRIFTDB_VFS_KILLS")); err == nil {
		kills = n
	} else if testing.Short() {
		kills = 2
	}
	path := filepath.Join(t.TempDir(), "app.db")
	connect(t, joined, path).exec("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b UNIQUE); CREATE TABLE done(n, rows, first)")
	for i := range kills {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestKilled$")
		cmd.Env = append(os.Environ(), killedChild+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var said []string
		lines := bufio.NewScanner(out)
		if lines.Scan() { // the first commit
			said = append(said, lines.Text())
			time.AfterFunc(time.Duration(rand.IntN(200))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		}
		for lines.Scan() {
			said = append(said, lines.Text())
		}
		_ = cmd.Wait()
		if len(said) == 0 {
			t.Fatal("the process did nothing")
		}
		check := fmt.Sprintf(`PRAGMA integrity_check;
			SELECT count(*) FROM done WHERE n IN (%s);
			SELECT count(*) FROM done WHERE rows != (SELECT count(*) FROM t WHERE id BETWEEN first AND first + 999);
			SELECT count(*) FROM t WHERE id / 1000 NOT IN (SELECT n FROM done)`, strings.Join(said, ","))
		if is, should := shell(t, path, check), fmt.Sprintf("ok\n%d\n0\n0\n", len(said)); is != should {
			t.Fatalf("kill %d, after %d commits: %s", i, len(said), is)
		}
	}
}

// writeForever prints the number of each transaction that it has committed.
func writeForever(t *testing.T, path string) {
	var mu sync.Mutex // of what is printed
	for i := range 2 {
		c := connect(t, joined, path, "_pragma=journal_mode(WAL)", "_pragma=busy_timeout(60000)", "_pragma=synchronous(NORMAL)",
			fmt.Sprintf("_pragma=cache_size(%d)", 10+1000*i), "_pragma=cache_spill(10)", "_pragma=wal_autocheckpoint(300)")
		go func() {
			for {
				n := 1 + rand.IntN(1<<30)
				rows := 1 + rand.IntN(100)
				if rand.IntN(5) == 0 {
					rows = 900
				}
				c.exec("BEGIN IMMEDIATE; " + strings.ReplaceAll(many(n*1000, rows), "i*7919 % 100003", "i"))
				c.exec(fmt.Sprintf("INSERT INTO done VALUES(%d, %d, %d)", n, rows, n*1000))
				if rand.IntN(4) == 0 {
					c.exec("ROLLBACK")
					continue
				}
				c.exec("COMMIT")
				mu.Lock()
				fmt.Println(n)
				mu.Unlock()
			}
		}()
	}
	select {}
}
