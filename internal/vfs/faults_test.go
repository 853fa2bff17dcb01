package vfs

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"testing"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

var all = flag.Bool("all", false, "every write fails in turn, not every seventh")

// TestWriteFails: the k-th write to the WAL fails, or every one from then on. What runs
// then fails with that code and is undone; everything else is there, and the database is
// sound. So it is with the platform's VFS.
func TestWriteFails(t *testing.T) {
	under := []string{plain, joined}
	if testing.Short() {
		under = under[1:]
	}
	for _, vfs := range under {
		for _, method := range []string{"write", "sync"} {
			for _, code := range []int32{lib.SQLITE_IOERR_WRITE, lib.SQLITE_FULL} {
				for _, goesOn := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%s/%d/%t", vfs, method, code, goesOn), func(t *testing.T) {
						step := 7
						switch {
						case *all:
							step = 1
						case vfs == plain || testing.Short():
							step = 41
						}
						k := 1
						for failAt(t, vfs, method, code, goesOn, k) {
							k += step
						}
						t.Logf("%d calls", k-1)
					})
				}
			}
		}
	}
}

// failAt runs a history in which the k-th call fails, and says whether there were as many.
func failAt(t *testing.T, vfs, method string, code int32, goesOn bool, k int) bool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.db")
	c := connect(t, vfs, path, "_pragma=page_size(1024)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)",
		"_pragma=cache_size(12)", "_pragma=cache_spill(10)", "_pragma=wal_autocheckpoint(0)")
	defer c.close()
	c.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b UNIQUE); CREATE TABLE done(n)")
	other := connect(t, vfs, path)
	defer other.close()
	work := []string{
		"INSERT INTO t VALUES(1, 1, 1)",
		"UPDATE t SET a = 2",
		many(2, 150),
		many(1000, 60) + "; SAVEPOINT s; " + many(2000, 60) + "; ROLLBACK TO s; UPDATE t SET a = 7 WHERE id % 3 = 1",
		"DELETE FROM t WHERE id % 2; UPDATE t SET b = b||'x'",
		"INSERT INTO t VALUES(5000, 1, -1)",
	}
	calls, failed := 0, 0
	fail := func(c call, _ int32, _ int64) int32 {
		if c != (call{"wal", method}) {
			return 0
		}
		if calls++; calls == k || goesOn && calls > k {
			failed++
			return code
		}
		return 0
	}
	for i, script := range work {
		var err error
		was := failed
		spied.failing(fail, func() {
			if err = c.try(fmt.Sprintf("BEGIN; %s; INSERT INTO done VALUES(%d); COMMIT", script, i)); err != nil {
				_ = c.try("ROLLBACK") // SQLite has done that, after most errors
			}
		})
		switch of := new(sqlite.Error); {
		case (failed != was) != (err != nil):
			t.Fatalf("call %d, step %d: %d calls failed, and the transaction: %v", k, i, failed-was, err)
		case err != nil && (!errors.As(err, &of) || of.Code() != int(code)):
			t.Fatalf("call %d, step %d: %v", k, i, err)
		}
		if is := c.rows(fmt.Sprintf("SELECT count(*) FROM done WHERE n = %d", i)) == "1|\n"; is != (err == nil) {
			t.Fatalf("call %d, step %d: committed is %t, and the error is %v", k, i, is, err)
		}
		fresh := connect(t, plain, path)
		for _, q := range []string{"SELECT * FROM t", "SELECT * FROM done"} {
			if a, b, d := c.rows(q), other.rows(q), fresh.rows(q); a != b || a != d {
				t.Fatalf("call %d, step %d: connections see different rows", k, i)
			}
		}
		fresh.sound(fmt.Sprintf("call %d, step %d", k, i))
		fresh.close()
	}
	return calls >= k
}

// many is a statement that inserts rows, more than the cache of this test holds.
func many(from, n int) string {
	return fmt.Sprintf("WITH RECURSIVE n(i) AS (VALUES(%d) UNION ALL SELECT i+1 FROM n LIMIT %d) "+
		"INSERT INTO t SELECT i, hex(zeroblob(300)), i*7919 %% 100003 FROM n", from, n)
}
