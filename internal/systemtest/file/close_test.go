package file_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// closeSoon closes a database and fails if that waits for something that does not end.
func closeSoon(t *testing.T, db *driftdb.DB) (took time.Duration) {
	t.Helper()
	systemtest.Within(t, "Close", func() {
		began := time.Now()
		err := db.Close()
		if took = time.Since(began); err != nil {
			t.Errorf("Close: %v, after %v", err, took)
		}
	})
	return took
}

// undone fails unless err says that the database was closed, and that something
// was rolled back.
func undone(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, driftdb.ErrClosed) || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("%s: %v", what, err)
	}
}

func isClosed(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, driftdb.ErrClosed) {
		t.Errorf("%s: %v", what, err)
	}
}

// TestCloseTakesBack: what the program still holds after Close is told so, nothing
// of it is in the file, no descriptor is open, and the next Open has the file for
// itself.
func TestCloseTakesBack(t *testing.T) {
	ctx := context.Background()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 10)
	const insert = "INSERT INTO t(v) VALUES('late')"
	tx, err := db.SQL().Begin()
	systemtest.Check(t, err)
	_, err = tx.Exec(insert)
	systemtest.Check(t, err)
	rows, err := db.SQL().Query("SELECT id FROM t")
	systemtest.Check(t, err)
	rows.Next()
	pinned, err := db.SQL().Conn(ctx)
	systemtest.Check(t, err)
	prepared, err := pinned.PrepareContext(ctx, insert)
	systemtest.Check(t, err)
	closeSoon(t, db)
	if n := openFiles(filepath.Dir(cfg.Path)); n > 0 {
		t.Errorf("%d descriptors are open", n)
	}
	again := systemtest.Open(t, cfg)
	systemtest.Exec(t, again, "INSERT INTO t(v) VALUES('second')")
	_, err = tx.Exec(insert)
	undone(t, "a statement of a sql.Tx", err)
	undone(t, "Commit", tx.Commit())
	for rows.Next() {
		t.Error("there are more rows")
	}
	isClosed(t, "rows", rows.Err())
	_, err = pinned.ExecContext(ctx, insert)
	isClosed(t, "a sql.Conn", err)
	_, err = prepared.Exec()
	isClosed(t, "a sql.Stmt", err)
	if err := db.SQL().Ping(); err == nil {
		t.Error("SQL works")
	}
	if n := systemtest.Count(t, again, "t WHERE v = 'late'"); n > 0 {
		t.Error("what was rolled back is there")
	}
	if n := again.Metrics().Barriers; n > 0 {
		t.Errorf("%d barriers", n)
	}
}

// TestCloseEndsReading: loops and ReadTx are told at their next step, wherever
// they are.
func TestCloseEndsReading(t *testing.T) {
	ctx := context.Background()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	users, err := driftdb.Define[systemtest.LoadRow](ctx, db, "rows")
	systemtest.Check(t, err)
	for n := range int64(3) {
		_, err := users.Create(ctx, systemtest.LoadRow{N: n})
		systemtest.Check(t, err)
	}
	next, stop := iter.Pull2(users.Each(ctx, driftdb.Query{}))
	defer stop()
	_, err, _ = next()
	systemtest.Check(t, err)
	inside, goOn := make(chan bool), make(chan bool)
	var reading sync.WaitGroup
	reading.Go(func() {
		err := db.ReadTx(ctx, func(tx *driftdb.Tx) error {
			n, err := users.In(tx).Count(ctx)
			if err != nil || n != 3 {
				t.Errorf("%d, %v", n, err)
			}
			more, stop := iter.Pull2(users.In(tx).Each(ctx, driftdb.Query{}))
			defer stop()
			_, _, _ = more()
			close(inside)
			<-goOn
			_, err, _ = more()
			isClosed(t, "a loop in ReadTx", err)
			_, err = driftdb.Select[int64](ctx, tx, "SELECT 1")
			isClosed(t, "Select in ReadTx", err)
			_, err = tx.Exec(ctx, "SELECT 1")
			isClosed(t, "Exec in ReadTx", err)
			return err
		})
		isClosed(t, "ReadTx", err)
	})
	<-inside
	if took := closeSoon(t, db); took > 400*time.Millisecond {
		t.Logf("Close took %v, although nobody was at work", took)
	}
	if n := openFiles(filepath.Dir(cfg.Path)); n > 0 {
		t.Errorf("%d descriptors are open", n)
	}
	close(goOn)
	reading.Wait()
	_, err, _ = next()
	isClosed(t, "Each", err)
	_, err, more := next()
	if more {
		t.Errorf("Each goes on: %v", err)
	}
	_, err = users.Find(ctx, driftdb.Query{})
	isClosed(t, "Find", err)
	for _, err := range db.Changes(ctx, driftdb.ChangeQuery{}) {
		isClosed(t, "Changes", err)
	}
}

// TestCloseInLoop: a loop over rows may close the database.
func TestCloseInLoop(t *testing.T) {
	db := systemtest.Open(t, systemtest.Config(t))
	users, err := driftdb.Define[systemtest.LoadRow](t.Context(), db, "rows")
	systemtest.Check(t, err)
	for n := range int64(3) {
		_, err := users.Create(t.Context(), systemtest.LoadRow{N: n})
		systemtest.Check(t, err)
	}
	steps := 0
	for _, err := range users.Each(t.Context(), driftdb.Query{}) {
		if steps++; steps == 1 {
			systemtest.Check(t, err)
			closeSoon(t, db)
			continue
		}
		isClosed(t, "the next row", err)
	}
	if steps != 2 {
		t.Errorf("%d steps", steps)
	}
}

// TestCloseInReadTx: so may the function of a ReadTx.
func TestCloseInReadTx(t *testing.T) {
	db := systemtest.Open(t, systemtest.Config(t))
	err := db.ReadTx(t.Context(), func(tx *driftdb.Tx) error {
		closeSoon(t, db)
		_, err := driftdb.Select[int64](t.Context(), tx, "SELECT 1")
		return err
	})
	isClosed(t, "ReadTx", err)
}

// TestCloseWaitsForTx: a transaction's function has a moment to end. After that it
// is rolled back, and what it does next fails.
func TestCloseWaitsForTx(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name   string
		ends   bool // in time
		finish func(tx *driftdb.Tx) error
	}{
		{"in time", true, func(tx *driftdb.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO t(v) VALUES('more')")
			return err
		}},
		{"a statement", false, func(tx *driftdb.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO t(v) VALUES('more')")
			undone(t, "Exec", err)
			return err
		}},
		{"a query", false, func(tx *driftdb.Tx) error {
			_, err := driftdb.Select[int64](ctx, tx, "SELECT 1")
			undone(t, "Select", err)
			return err
		}},
		{"a savepoint", false, func(tx *driftdb.Tx) error {
			err := tx.Savepoint(ctx, func(*driftdb.Tx) error { t.Error("there is no transaction"); return nil })
			undone(t, "Savepoint", err)
			return err
		}},
		{"its commit", false, func(*driftdb.Tx) error { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := systemtest.Config(t)
			db := systemtest.Open(t, cfg)
			systemtest.Some(t, db, "t", 1)
			inside, goOn := make(chan bool), make(chan bool)
			var err error
			var running sync.WaitGroup
			running.Go(func() {
				err = db.Tx(ctx, func(tx *driftdb.Tx) error {
					exec := func() error { _, err := tx.Exec(ctx, "INSERT INTO t(v) VALUES('in it')"); return err }
					if err := errors.Join(exec(), tx.Savepoint(ctx, func(*driftdb.Tx) error { return exec() })); err != nil {
						return err
					}
					close(inside)
					<-goOn
					return c.finish(tx)
				})
			})
			<-inside
			want := int64(1)
			if c.ends {
				want = 4
				close(goOn)
				running.Wait()
				closeSoon(t, db)
				systemtest.Check(t, err)
			} else {
				closeSoon(t, db)
				close(goOn)
				running.Wait()
				undone(t, "Tx", err)
			}
			db = systemtest.Open(t, cfg)
			if n := systemtest.Count(t, db, "t"); n != want {
				t.Errorf("%d rows, want %d", n, want)
			}
			if n := db.Metrics().Barriers; n > 0 {
				t.Errorf("%d barriers", n)
			}
		})
	}
}

// TestCloseDuringTx: whenever a Tx ends, it ends in one of two ways.
func TestCloseDuringTx(t *testing.T) {
	ctx := context.Background()
	cfg := systemtest.Config(t)
	for _, wait := range []int64{0, 400, 490, 495, 500, 505, 510, 600} { // ms
		db := systemtest.Open(t, cfg)
		systemtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS t(v)")
		inside := make(chan bool)
		var err error
		var running sync.WaitGroup
		running.Go(func() {
			err = db.Tx(ctx, func(tx *driftdb.Tx) error {
				insert := func() error { _, err := tx.Exec(ctx, "INSERT INTO t VALUES(?)", wait); return err }
				if err := insert(); err != nil {
					return err
				}
				close(inside)
				time.Sleep(time.Duration(wait) * time.Millisecond) // around what Close grants
				return insert()
			})
		})
		<-inside
		closeSoon(t, db)
		running.Wait()
		db = systemtest.Open(t, cfg)
		if n := systemtest.Count(t, db, fmt.Sprint("t WHERE v = ", wait)); n != 0 && err != nil || n != 2 && err == nil {
			t.Errorf("after %d ms: %v, and there are %d rows", wait, err, n)
		}
		systemtest.Check(t, db.Close())
	}
}

// endlessQuery never ends by itself.
const endlessQuery = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n"

// TestCloseInterrupts: a statement that would run for ever is interrupted, and
// its caller told why, wherever it runs and whatever lock it waits for.
func TestCloseInterrupts(t *testing.T) {
	ctx := context.Background()
	const endlessInsert = "INSERT INTO t(v) " + endlessQuery
	for name, run := range map[string]func(db *driftdb.DB, started func()) error{
		"Exec": func(db *driftdb.DB, started func()) error {
			started()
			_, err := db.Exec(ctx, endlessInsert)
			return err
		},
		"a script": func(db *driftdb.DB, started func()) error {
			started()
			_, err := db.Exec(ctx, "BEGIN; INSERT INTO t(v) VALUES(1); "+endlessInsert+"; COMMIT")
			return err
		},
		"Tx": func(db *driftdb.DB, started func()) error {
			return db.Tx(ctx, func(tx *driftdb.Tx) error {
				started()
				_, err := tx.Exec(ctx, endlessInsert)
				return err
			})
		},
		"Select": func(db *driftdb.DB, started func()) error {
			started()
			_, err := driftdb.Select[int64](ctx, db, endlessQuery)
			return err
		},
		"ReadTx": func(db *driftdb.DB, started func()) error {
			return db.ReadTx(ctx, func(tx *driftdb.Tx) error {
				started()
				_, err := driftdb.Select[int64](ctx, tx, endlessQuery)
				return err
			})
		},
		"SQL": func(db *driftdb.DB, started func()) error {
			started()
			_, err := db.SQL().Exec(endlessInsert)
			return err
		},
		"a transaction of SQL": func(db *driftdb.DB, started func()) error {
			tx, err := db.SQL().Begin()
			if err != nil {
				return err
			}
			started()
			_, err = tx.Exec(endlessInsert)
			return err
		},
		"rows of SQL": func(db *driftdb.DB, started func()) error {
			rows, err := db.SQL().Query("SELECT 1 UNION ALL SELECT * FROM (" + endlessQuery + ")")
			if err != nil {
				return err
			}
			rows.Next()
			started()
			rows.Next()
			return rows.Err()
		},
		"waiting for the lock of a transaction of SQL": func(db *driftdb.DB, started func()) error {
			return waitForLock(db, started, func() error { _, err := db.Exec(ctx, "INSERT INTO t(v) VALUES(1)"); return err })
		},
		"SQL waiting for the lock of another": func(db *driftdb.DB, started func()) error {
			return waitForLock(db, started, func() error { _, err := db.SQL().Exec("INSERT INTO t(v) VALUES(1)"); return err })
		},
		"SQL waiting for the lock of a Tx": func(db *driftdb.DB, started func()) error {
			return db.Tx(ctx, func(*driftdb.Tx) error {
				waited := make(chan error) // on another goroutine: this one's would be refused
				go func() {
					started()
					_, err := db.SQL().Exec("INSERT INTO t(v) VALUES(1)")
					waited <- err
				}()
				return <-waited
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := systemtest.Config(t)
			cfg.BusyTimeout = time.Hour
			db := systemtest.Open(t, cfg)
			systemtest.Some(t, db, "t", 1)
			started := make(chan bool)
			var err error
			var running sync.WaitGroup
			running.Go(func() { err = run(db, func() { close(started) }) })
			<-started
			time.Sleep(20 * time.Millisecond) // into the statement, most times
			closeSoon(t, db)
			systemtest.Within(t, name, running.Wait)
			isClosed(t, name, err)
			if n := openFiles(filepath.Dir(cfg.Path)); n > 0 {
				t.Errorf("%d descriptors are open", n)
			}
			if db = systemtest.Open(t, cfg); systemtest.Count(t, db, "t") != 1 || db.Metrics().Barriers != 0 {
				t.Errorf("%d rows, %d barriers", systemtest.Count(t, db, "t"), db.Metrics().Barriers)
			}
		})
	}
}

// waitForLock runs fn while a transaction of db.SQL() is at work, which holds the
// lock that fn wants.
func waitForLock(db *driftdb.DB, started func(), fn func() error) error {
	tx, err := db.SQL().BeginTx(context.Background(), &sql.TxOptions{})
	if err != nil {
		return err
	}
	var holding sync.WaitGroup
	holding.Go(func() { _, _ = tx.Exec("INSERT INTO t(v) " + endlessQuery) })
	started()
	err = fn()
	holding.Wait()
	return err
}

// TestCloseWhileOthersHoldTheLock: not even another program keeps Close from
// ending.
func TestCloseWhileOthersHoldTheLock(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.BusyTimeout = time.Hour
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1)
	other, err := sql.Open("sqlite", cfg.Path)
	systemtest.Check(t, err)
	defer other.Close()
	tx, err := other.Begin()
	systemtest.Check(t, err)
	_, err = tx.Exec("UPDATE t SET v = 'theirs'")
	systemtest.Check(t, err)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		_, err := db.Exec(context.Background(), "INSERT INTO t(v) VALUES(2)")
		isClosed(t, "Exec", err)
	})
	waiting.Go(func() {
		_, err := db.SQL().Exec("INSERT INTO t(v) VALUES(3)")
		isClosed(t, "SQL", err)
	})
	time.Sleep(10 * time.Millisecond) // they wait by now, most times
	closeSoon(t, db)
	systemtest.Within(t, "waiting for the lock", waiting.Wait)
	systemtest.Check(t, tx.Rollback())
}

// TestCloseTwice: a second call waits for the first, and says the same.
func TestCloseTwice(t *testing.T) {
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Some(t, db, "t", 1)
	inside, goOn := make(chan bool), make(chan bool)
	var running sync.WaitGroup
	running.Go(func() {
		_ = db.Tx(context.Background(), func(tx *driftdb.Tx) error { close(inside); <-goOn; return nil })
	})
	<-inside
	for range 3 {
		running.Go(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			if _, err := driftdb.Select[int64](context.Background(), db, "SELECT 1"); !errors.Is(err, driftdb.ErrClosed) {
				t.Error(err)
			}
		})
	}
	closeSoon(t, db)
	close(goOn)
	systemtest.Within(t, "Close", running.Wait)
	closeSoon(t, db)
}
