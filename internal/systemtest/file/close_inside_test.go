package file_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// waiting are the calls that wait for what runs.
var waiting = map[string]func(*driftdb.DB) error{
	"Close":          func(db *driftdb.DB) error { return db.Close() },
	"Shutdown":       func(db *driftdb.DB) error { return db.Shutdown(context.Background()) },
	"Flush":          func(db *driftdb.DB) error { return db.Flush(context.Background()) },
	"Snapshot":       func(db *driftdb.DB) error { _, err := db.Snapshot(context.Background()); return err },
	"CollectGarbage": func(db *driftdb.DB) error { _, _, err := db.CollectGarbage(context.Background()); return err },
}

// refusedInside fails unless each of the waiting calls is an error at once that
// says what to do, and is none for another database.
func refusedInside(t *testing.T, db *driftdb.DB, advice string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(waiting)) {
		err := waiting[name](db) // in this goroutine: that is how it is known to be inside
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), advice) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := systemtest.Open(t, systemtest.Config(t))
	systemtest.Some(t, other, "t", 1)
	for _, name := range []string{"Flush", "Snapshot", "Close"} {
		if err := waiting[name](other); err != nil {
			t.Errorf("%s of another database: %v", name, err)
		}
	}
}

// TestCallsInTx: what would wait for the function that it is called from is an
// error at once, and the transaction goes on.
func TestCallsInTx(t *testing.T) {
	ctx := t.Context()
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Some(t, db, "t", 1)
	users, err := driftdb.Define[systemtest.LoadRow](ctx, db, "rows")
	systemtest.Check(t, err)
	nothing := func(*driftdb.Tx) error { t.Error("it ran"); return nil }
	type other struct {
		driftdb.Base
		V string
	}
	systemtest.Within(t, "a call in Tx", func() {
		err = db.Tx(ctx, func(tx *driftdb.Tx) error {
			refusedInside(t, db, "when Tx has returned")
			for name, call := range map[string]func() error{
				"Tx":      func() error { return db.Tx(ctx, nothing) },
				"Exec":    func() error { _, err := db.Exec(ctx, "DELETE FROM t"); return err },
				"Vacuum":  func() error { return db.Vacuum(ctx) },
				"Create":  func() error { _, err := users.Create(ctx, systemtest.LoadRow{}); return err },
				"Many":    func() error { _, err := users.CreateMany(ctx, []systemtest.LoadRow{{}}); return err },
				"Define":  func() error { _, err := driftdb.Define[other](ctx, db, "others"); return err },
				"ReadTx":  func() error { return db.ReadTx(ctx, func(*driftdb.Tx) error { return db.Tx(ctx, nothing) }) },
				"a defer": func() (err error) { defer func() { err = db.Tx(ctx, nothing) }(); return nil },
				"a part":  func() error { return tx.Savepoint(ctx, func(*driftdb.Tx) error { return db.Tx(ctx, nothing) }) },
				"a loop":  func() error { return inLoop(ctx, users, func() error { return db.Tx(ctx, nothing) }) },
				"another": func() error { return inOtherTx(t, func() error { return db.Tx(ctx, nothing) }) },
				"its Exec": func() error {
					return inOtherTx(t, func() error { _, err := db.Exec(ctx, "DELETE FROM t"); return err })
				},
				"Update":   func() error { _, err := users.Update(ctx, driftdb.All, driftdb.Set{"n": 1}); return err },
				"SQL":      func() error { _, err := db.SQL().Exec("DELETE FROM t"); return err },
				"SQL's Tx": func() error { _, err := db.SQL().Begin(); return err },
				"its DDL":  func() error { _, err := db.SQL().Exec("CREATE TABLE u(v)"); return err },
				"its own":  func() error { _, err := db.SQL().Exec("BEGIN IMMEDIATE"); return err },
				"its rows": func() (err error) { return db.SQL().QueryRow("DELETE FROM t RETURNING v").Scan(new(string)) },
				"prepared": func() error {
					return withStmt(db, "DELETE FROM t", func(st *sql.Stmt) error { _, err := st.Exec(); return err })
				},
			} {
				err := call()
				for _, way := range []string{"tx.Exec", "In(tx)", "Tx.Savepoint"} {
					if err == nil || !strings.Contains(err.Error(), way) {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
			readsBefore(t, db, users)
			db.StopSync()
			db.StartSync()
			db.Metrics()
			_, err := tx.Exec(ctx, "INSERT INTO t(v) VALUES('it goes on')")
			return err
		})
	})
	systemtest.Check(t, err)
	if n := systemtest.Count(t, db, "t"); n != 2 {
		t.Errorf("%d rows", n)
	}
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('afterwards')")
}

// readsBefore: all that reads outside of the transaction goes on inside of it, and sees
// the one row that was there before.
func readsBefore(t *testing.T, db *driftdb.DB, users *driftdb.Repository[systemtest.LoadRow]) {
	t.Helper()
	ctx := t.Context()
	if n, err := driftdb.Select[int64](ctx, db, "SELECT count(*) FROM t"); err != nil || n[0] != 1 {
		t.Errorf("reading: %v, %v", n, err)
	}
	if n, err := users.Count(ctx, nil); err != nil || n != 0 {
		t.Errorf("reading through a repository: %v, %v", n, err)
	}
	tx, err := db.SQL().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	systemtest.Check(t, err)
	defer tx.Rollback()
	for _, q := range []interface {
		QueryRow(string, ...any) *sql.Row
	}{db.SQL(), tx} {
		var n, temp int
		if err := q.QueryRow("SELECT count(*) FROM t").Scan(&n); err != nil || n != 1 {
			t.Errorf("reading through %T: %v, %v", q, n, err)
		}
		if err := q.QueryRow("SELECT count(*) FROM sqlite_temp_schema").Scan(&temp); err != nil {
			t.Error(err)
		}
	}
}

func withStmt(db *driftdb.DB, query string, fn func(*sql.Stmt) error) error {
	st, err := db.SQL().Prepare(query)
	if err != nil {
		return err
	}
	defer st.Close()
	return fn(st)
}

func inLoop(ctx context.Context, users *driftdb.Repository[systemtest.LoadRow], fn func() error) error {
	if _, err := users.FindOne(ctx, driftdb.Where{}); err == nil {
		return errors.New("the test wants no rows here")
	}
	for range 1 {
		return fn()
	}
	return nil
}

// inOtherTx calls fn in a transaction of another database, which is no reason to
// let it into its own.
func inOtherTx(t *testing.T, fn func() error) (err error) {
	other := systemtest.Open(t, systemtest.Config(t))
	systemtest.Exec(t, other, "CREATE TABLE t(v)")
	if txErr := other.Tx(t.Context(), func(tx *driftdb.Tx) error {
		err = fn()
		_, err := tx.Exec(t.Context(), "INSERT INTO t VALUES(1)")
		return err
	}); txErr != nil {
		t.Error(txErr)
	}
	return err
}

// TestWaitingIsNoError: only a transaction's own goroutine is inside of it. Others
// wait their turn, also those that its function has started, and those that run
// transactions of other databases.
func TestWaitingIsNoError(t *testing.T) {
	ctx := t.Context()
	db, other := systemtest.Open(t, systemtest.Config(t)), systemtest.Open(t, systemtest.Config(t))
	systemtest.Some(t, db, "t", 1)
	systemtest.Exec(t, other, "CREATE TABLE t(v)")
	var waiting sync.WaitGroup
	insert := func() {
		if _, err := db.Exec(ctx, "INSERT INTO t(v) VALUES('waited')"); err != nil {
			t.Error(err)
		}
	}
	insertBySQL := func() {
		if _, err := db.SQL().Exec("INSERT INTO t(v) VALUES('waited')"); err != nil {
			t.Error(err)
		}
	}
	err := db.Tx(ctx, func(tx *driftdb.Tx) error {
		waiting.Go(insert)
		waiting.Go(insertBySQL)
		waiting.Go(func() {
			if err := other.Tx(ctx, func(*driftdb.Tx) error { insert(); return nil }); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(10 * time.Millisecond) // both wait by now, most times
		return nil
	})
	systemtest.Check(t, err)
	waiting.Wait()
	if n := systemtest.Count(t, db, "t"); n != 4 {
		t.Errorf("%d rows", n)
	}
}

// eachTeller runs fn with a database that tells by OnEvent, and with one that does
// by its Logger.
func eachTeller(t *testing.T, fn func(t *testing.T, cfg driftdb.Config, w *systemtest.Teller)) {
	for name, set := range map[string]func(*driftdb.Config, *systemtest.Teller){
		"OnEvent": func(cfg *driftdb.Config, w *systemtest.Teller) { cfg.OnEvent = w.Tell },
		"Logger":  func(cfg *driftdb.Config, w *systemtest.Teller) { cfg.Logger = slog.New(w) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg, w := systemtest.Config(t), new(systemtest.Teller)
			cfg.SyncInterval = time.Millisecond
			set(&cfg, w)
			fn(t, cfg, w)
		})
	}
}

// TestCallsInEvents: what waits for the engine cannot be called where the engine,
// or a caller who holds it, tells of something. Everything else can.
func TestCallsInEvents(t *testing.T) {
	eachTeller(t, func(t *testing.T, cfg driftdb.Config, w *systemtest.Teller) {
		ctx := context.Background()
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 1)
		for name, cause := range map[string]func() error{
			"the loop": func() error { db.StartSync(); return nil },
			"a Flush":  func() error { return db.Flush(ctx) },
		} {
			told := make(chan bool)
			w.Set(func(driftdb.Event) {
				defer close(told)
				refusedInside(t, db, "another goroutine")
				systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('told')")
				if err := db.Tx(ctx, func(tx *driftdb.Tx) error { return nil }); err != nil {
					t.Error(err)
				}
				if err := db.ReadTx(ctx, func(tx *driftdb.Tx) error { return nil }); err != nil {
					t.Error(err)
				}
				if _, err := db.SQL().Exec("INSERT INTO t(v) VALUES('told')"); err != nil {
					t.Error(err)
				}
				systemtest.Count(t, db, "t")
				db.Metrics()
			})
			systemtest.Within(t, name, func() {
				systemtest.Check(t, cause())
				systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('new')")
				if name != "the loop" {
					systemtest.Check(t, db.Flush(ctx))
				}
				<-told
			})
			db.StopSync()
		}
	})
}

// TestCloseFromEvent: a handler may let another goroutine close the database.
func TestCloseFromEvent(t *testing.T) {
	eachTeller(t, func(t *testing.T, cfg driftdb.Config, w *systemtest.Teller) {
		cfg.ManualSync = false
		db := systemtest.Open(t, cfg)
		closed := make(chan error)
		w.Set(func(driftdb.Event) { go func() { closed <- db.Close() }() })
		systemtest.Some(t, db, "t", 1)
		systemtest.Within(t, "Close", func() { systemtest.Check(t, <-closed) })
	})
}

// TestStopSyncInEvent: syncing can be stopped, and started again, from where it
// tells of something, and from elsewhere meanwhile.
func TestStopSyncInEvent(t *testing.T) {
	eachTeller(t, func(t *testing.T, cfg driftdb.Config, w *systemtest.Teller) {
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 1)
		var elsewhere sync.WaitGroup
		for i, again := range []bool{false, true, false, true} {
			told := make(chan bool)
			w.Set(func(driftdb.Event) {
				defer close(told)
				if i > 1 {
					elsewhere.Go(db.StopSync)
				}
				db.StopSync()
				if again {
					db.StartSync()
				}
			})
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES(1)")
			db.StartSync()
			systemtest.Within(t, "StopSync", func() { <-told; elsewhere.Wait() })
			if i < 2 && db.Metrics().IsRunning != again {
				t.Errorf("round %d: syncing runs: %v", i, !again)
			}
			db.StopSync()
		}
		w.Set(func(driftdb.Event) { db.StopSync() })
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES(1)")
		db.StartSync()
		closeSoon(t, db)
	})
}
