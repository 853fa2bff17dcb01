package sqlite_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// keeping is a connection that writes, and keeps its snapshot in the terms of a pool.
type keeping struct {
	*sqlite.Conn
	*sqlite.Keeper
	turn sync.Mutex // to use the two
}

func newKeeping(t testing.TB, p *sqlite.Pool, c *sqlite.Conn) *keeping {
	t.Helper()
	k := &keeping{Conn: c}
	keeper, err := p.Keep(c, k.expired)
	if err != nil {
		t.Fatal(err)
	}
	k.Keeper = keeper
	return k
}

func (k *keeping) expired() {
	for k.Over() && k.turn.TryLock() {
		k.End()
		k.turn.Unlock()
	}
}

// write runs a statement by itself, as the engine's writer does. It says whether it was
// run again.
func (k *keeping) write(statement string) (again bool, err error) {
	k.turn.Lock()
	k.Begin()
	err = k.Do(statement)
	if again = k.Done(err); again {
		err = k.Do(statement)
	}
	k.turn.Unlock()
	k.expired()
	return again, err
}

// insert writes a row, and says whether a snapshot is kept then.
func (k *keeping) insert(t *testing.T) (kept bool) {
	t.Helper()
	if again, err := k.write("INSERT INTO t VALUES(1)"); err != nil || again {
		t.Errorf("again %v, %v", again, err)
	}
	return k.Keeps()
}

// TestKeeper: writes that follow each other keep a snapshot, for a term. What others commit
// meanwhile is seen, and they are waited for.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock stands still
		path := newFile(t)
		p := sqlite.NewPool(0, 4, func() (*sqlite.Conn, error) { return sqlite.Open(path, sqlite.Options{}) })
		defer closePool(t, p)
		k := newKeeping(t, p, newConn(t, path))
		other := newConn(t, path)
		if k.insert(t) {
			t.Error("the first write keeps a snapshot")
		}
		for range 2 {
			if !k.insert(t) {
				t.Error("the next ones keep none")
			}
		}
		if n := read(t, p, countRows); n != 3 {
			t.Errorf("%d rows of three", n)
		}
		run(t, other, "INSERT INTO t VALUES(2)")
		if !k.insert(t) {
			t.Error("none is kept after another's commit")
		}
		if n := read(t, p, countRows); n != 5 {
			t.Errorf("%d rows of five", n)
		}

		run(t, other, "BEGIN IMMEDIATE; INSERT INTO t VALUES(2)")
		time.AfterFunc(sqlite.TermLength/5, func() { run(t, other, "COMMIT") })
		if again, err := k.write("INSERT INTO t VALUES(1)"); err != nil || !again {
			t.Errorf("beside another's transaction: again %v, %v", again, err)
		}
		if n := read(t, p, countRows); n != 7 {
			t.Errorf("%d rows of seven", n)
		}

		if again, err := k.write("INSERT INTO nowhere VALUES(1)"); err == nil || again || k.Keeps() {
			t.Errorf("after a failure: again %v, %v, kept: %v", again, err, k.Keeps())
		}
		if !k.insert(t) {
			t.Error("none is kept after that")
		}
		k.Interrupt() // too late for the last one
		if !k.insert(t) {
			t.Error("none is kept after an interrupt")
		}
	})
}

// TestKeeperExpires: a snapshot that a writer keeps stops no checkpoint once its term is over,
// and is not kept by writes that come one by one.
func TestKeeperExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := newFile(t)
		p := sqlite.NewPool(0, 4, func() (*sqlite.Conn, error) { return sqlite.Open(path, sqlite.Options{}) })
		defer closePool(t, p)
		k := newKeeping(t, p, newConn(t, path))
		other := newConn(t, path)
		other.Impatiently(func() {
			for range 3 {
				k.insert(t)
				if !k.insert(t) || truncate(t, other) {
					t.Error("no snapshot is kept")
				}
				time.Sleep(sqlite.TermLength)
				synctest.Wait()
				if k.Keeps() || !truncate(t, other) {
					t.Error("a snapshot is kept when its term is over")
				}
			}
			// A term that ends while the connection is in use.
			k.insert(t)
			k.insert(t)
			k.turn.Lock()
			time.Sleep(sqlite.TermLength)
			synctest.Wait()
			if !k.Keeps() {
				t.Error("a snapshot was given up while its connection was in use")
			}
			k.turn.Unlock()
			if k.expired(); k.Keeps() {
				t.Error("a snapshot is kept after that")
			}
		})
		for range 3 {
			time.Sleep(sqlite.TermLength)
			if k.insert(t) {
				t.Error("a write that comes by itself keeps a snapshot")
			}
		}
	})
}

// TestKeeperAndCheckpointer: neither the database's own checkpointer nor a writer that has to
// wait for it finds the snapshot of that writer in the way.
func TestKeeperAndCheckpointer(t *testing.T) {
	f := newWALFile(t)
	w := f.open()
	run(t, w, "CREATE TABLE t(a)")
	p := sqlite.NewPool(0, 4, func() (*sqlite.Conn, error) { return sqlite.Open(f.path, sqlite.Options{Checkpointer: f.cp}) })
	defer closePool(t, p)
	k := newKeeping(t, p, w)
	f.cp.Spare(p, p.OldestRead)
	k.insert(t)
	if !k.insert(t) {
		t.Error("no snapshot is kept")
	}
	f.cp.LetWait()
	k.insert(t)
	if n := f.cp.Pages(); n != 0 {
		t.Errorf("%d pages are in the WAL after a write that has waited for a checkpoint", n)
	}
	most := int64(0)
	for range 15_000 {
		if _, err := k.write("INSERT INTO t VALUES(zeroblob(9000))"); err != nil {
			t.Fatal(err)
		}
		most = max(most, f.cp.Pages()*4096>>20)
	}
	if most > 64 {
		t.Errorf("the WAL grew to %d MiB", most)
	}
}
