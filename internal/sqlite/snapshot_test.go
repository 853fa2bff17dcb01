package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// read runs a query of the pool's by itself, and returns the first value.
func read(t testing.TB, p *sqlite.Pool, query string) (n int64) {
	t.Helper()
	err := p.Read(context.Background(), query, func(c *sqlite.Conn) error {
		st, err := c.Cached(query)
		if err != nil {
			return err
		}
		defer st.Release()
		return st.Each(func(st *sqlite.Stmt) error { n = st.Int64(0); return nil })
	})
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
	return n
}

// truncate is what another program does to the WAL, and says whether readers let it.
func truncate(t testing.TB, c *sqlite.Conn) (done bool) {
	t.Helper()
	busy, err := c.Int("PRAGMA wal_checkpoint(TRUNCATE)")
	if err != nil {
		t.Fatal(err)
	}
	return busy == 0
}

const countRows = "SELECT count(*) FROM t"

// TestSnapshotKept: a snapshot is used again while it is the newest state, is kept for one
// term, and only where it can be told whether it is the newest.
func TestSnapshotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock stands still
		path := newFile(t)
		p := sqlite.NewPool(0, 4, func() (*sqlite.Conn, error) { return sqlite.Open(path, sqlite.Options{}) })
		defer closePool(t, p)
		other := newConn(t, path)
		check := func(after string, want int) {
			t.Helper()
			if got := p.Keeping(); got != want {
				t.Errorf("after %s, %d connections keep a snapshot, want %d", after, got, want)
			}
		}
		for i := range int64(10) {
			run(t, other, "INSERT INTO t VALUES(1)")
			for range 2 {
				if n := read(t, p, countRows); n != i+1 {
					t.Fatalf("%d rows after commit %d", n, i+1)
				}
				check("a read", 1)
			}
		}
		other.Impatiently(func() {
			if truncate(t, other) {
				t.Error("the WAL was cut below a snapshot")
			}
			time.Sleep(sqlite.TermLength)
			synctest.Wait()
			if check("a term", 0); !truncate(t, other) {
				t.Error("the WAL was not cut when the term was over")
			}
		})
		if n := read(t, p, countRows); n != 10 {
			t.Errorf("%d rows after the WAL was cut", n)
		}
		check("a read of an empty WAL", 1)
		run(t, other, "ALTER TABLE t ADD COLUMN b")
		if n := read(t, p, "SELECT count(b) + 100 FROM t"); n != 100 {
			t.Errorf("after another column: %d", n)
		}

		l := get(t, p)
		if !l.Conn.Autocommit() {
			t.Error("Get lends a connection within a transaction")
		}
		p.Put(l, errGone)
		read(t, p, countRows)
		read(t, p, "PRAGMA foreign_keys")
		check("a PRAGMA", 0)
		read(t, p, countRows)
		if err := p.Read(t.Context(), countRows, func(*sqlite.Conn) error { return errGone }); !errors.Is(err, errGone) {
			t.Error(err)
		}
		check("an error", 0)
		read(t, p, countRows)
		read(t, p, "BEGIN")
		if len(p.IdleConns()) != 0 {
			t.Error("a connection within a transaction that is not the pool's was kept")
		}
		read(t, p, countRows)
		read(t, p, "ATTACH ':memory:' AS another")
		read(t, p, countRows)
		check("an ATTACH", 0)
	})
}

// TestSnapshotWithoutWAL: a read of a database that has no WAL locks writers out, and is
// not kept.
func TestSnapshotWithoutWAL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.sqlite")
		open := func() (*sqlite.Conn, error) { return sqlite.Open(path, sqlite.Options{KeepJournal: true}) }
		w, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		run(t, w, "CREATE TABLE t(a)")
		p := sqlite.NewPool(0, 4, open)
		defer closePool(t, p)
		w.Impatiently(func() {
			for i := range int64(3) {
				if n := read(t, p, countRows); n != i {
					t.Errorf("%d rows, want %d", n, i)
				}
				run(t, w, "INSERT INTO t VALUES(1)")
			}
		})
	})
}

// TestSnapshotAndCheckpointer: a checkpoint gets past readers that never pause.
func TestSnapshotAndCheckpointer(t *testing.T) {
	f := newWALFile(t)
	w := f.open()
	run(t, w, "CREATE TABLE b(x); CREATE TABLE t(a)")
	p := sqlite.NewPool(0, 4, func() (*sqlite.Conn, error) { return sqlite.Open(f.path, sqlite.Options{Checkpointer: f.cp}) })
	defer closePool(t, p)
	f.cp.Spare(p, p.OldestRead)
	var readers sync.WaitGroup
	var over atomic.Bool
	for range 3 {
		readers.Go(func() {
			for !over.Load() {
				read(t, p, countRows)
			}
		})
	}
	f.write(w, 120)
	over.Store(true)
	readers.Wait()
	if f.most > 64 { // a reader that the system has stopped within a statement is in the way as ever
		t.Errorf("the WAL grew to %d MiB, 64 are the limit", f.most)
	}
}

// TestCheckpointerEndsSnapshots: a checkpoint of the database's own does not wait for the
// end of a term.
func TestCheckpointerEndsSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock stands still: no term ends
		f := newWALFile(t)
		w := f.open()
		run(t, w, "CREATE TABLE b(x); CREATE TABLE t(a)")
		p := sqlite.NewPool(0, 4, func() (*sqlite.Conn, error) { return sqlite.Open(f.path, sqlite.Options{Checkpointer: f.cp}) })
		defer closePool(t, p)
		f.cp.Spare(p, p.OldestRead)
		read(t, p, countRows)
		f.write(w, 20) // more than the WAL has when a checkpoint begins
		synctest.Wait()
		if left := f.left() * 4096 >> 20; left >= 16 { // what is written while it runs may be left
			t.Errorf("a snapshot that nobody reads was in the way of the checkpoint: %d MiB are left", left)
		}
	})
}

// envRival has the file for TestRival, and envRounds the number of its commits.
const (
	envRival  = "DRIFTDB_RIVAL_PATH"
	envRounds = "DRIFTDB_SNAPSHOT_ROUNDS"
)

// TestRival is no test: it is another process, which commits, says so, and cuts the WAL.
func TestRival(t *testing.T) {
	path := os.Getenv(envRival)
	if path == "" {
		t.Skip("is the program that TestSnapshotFresh starts")
	}
	c, err := sqlite.Open(path, sqlite.Options{MustExist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rounds, _ := strconv.Atoi(os.Getenv(envRounds))
	for i := range rounds {
		run(t, c, "UPDATE n SET theirs = theirs + 1")
		fmt.Printf("committed %d\n", i+1)
		time.Sleep(time.Millisecond) // a gap in the writes: the other process polls for the write lock, and would starve
		if i%10 != 9 {
			continue
		}
		if !truncate(t, c) {
			t.Fatal("readers kept the WAL from being cut for as long as a busy timeout")
		}
	}
}

// TestSnapshotFresh: a read that begins after a commit was acknowledged sees it, whether
// this process or another one made it, while the WAL begins anew again and again. No commit is
// lost.
func TestSnapshotFresh(t *testing.T) {
	rounds := os.Getenv(envRounds)
	if rounds == "" {
		rounds = "300"
	}
	f := newWALFile(t)
	w := f.open()
	run(t, w, "CREATE TABLE n(ours, theirs); INSERT INTO n VALUES(0, 0)")
	p := sqlite.NewPool(0, 4, func() (*sqlite.Conn, error) { return sqlite.Open(f.path, sqlite.Options{Checkpointer: f.cp}) })
	defer closePool(t, p)
	k := newKeeping(t, p, w)
	f.cp.Spare(p, p.OldestRead)

	rival := osexec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRival$", "-test.timeout=0")
	rival.Env = append(os.Environ(), envRival+"="+f.path, envRounds+"="+rounds)
	out, err := rival.StdoutPipe()
	if err == nil {
		err = rival.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var ours, theirs atomic.Int64
	var over atomic.Bool
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for !over.Load() {
				us, them := ours.Load(), theirs.Load()
				seen := read(t, p, "SELECT ours * 1000000000 + theirs FROM n")
				if a, b := seen/1e9, seen%1e9; a < us || b < them {
					t.Errorf("a read saw commits %d and %d; %d and %d were acknowledged before it began", a, b, us, them)
					return
				}
			}
		})
	}
	all.Go(func() {
		for i := int64(1); !over.Load(); i++ {
			if _, err := k.write("UPDATE n SET ours = ours + 1"); err != nil {
				t.Error(err)
			}
			ours.Store(i)
			if i%4 == 0 {
				time.Sleep(time.Millisecond) // a gap, as in the other process
			}
		}
	})
	in := bufio.NewScanner(out)
	said := ""
	for in.Scan() {
		if n, ok := strings.CutPrefix(in.Text(), "committed "); ok {
			i, _ := strconv.ParseInt(n, 10, 64)
			theirs.Store(i)
		} else {
			said += in.Text() + "\n"
		}
	}
	_, _ = io.Copy(io.Discard, out)
	over.Store(true)
	all.Wait()
	if err := rival.Wait(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
	if all := read(t, p, "SELECT ours * 1000000000 + theirs FROM n"); all != ours.Load()*1e9+theirs.Load() {
		t.Errorf("%d commits of ours and %d of theirs are there", all/1e9, all%1e9)
	}
	t.Logf("%d commits of ours, %d of theirs", ours.Load(), theirs.Load())
}
