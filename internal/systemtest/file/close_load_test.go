package file_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// closesVariable is how many times TestCloseUnderLoad closes; `make closes`
// says 200.
const closesVariable = "DRIFTDB_CLOSES"

// TestCloseUnderLoad closes a database while everything that can write or read
// does, and while a program holds everything that it can hold. The next Open must
// find nothing wrong with the file, and in it all that was acknowledged and nothing
// that was said to have failed. Nothing of a closed database is left: no
// descriptor, no goroutine.
func TestCloseUnderLoad(t *testing.T) {
	rounds := 24
	if testing.Short() {
		rounds = 8
	}
	if s := os.Getenv(closesVariable); s != "" {
		var err error
		rounds, err = strconv.Atoi(s)
		systemtest.Check(t, err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	cfg := systemtest.Config(t)
	cfg.ManualSync, cfg.SyncInterval = false, 10*time.Millisecond
	var noticed atomic.Pointer[driftdb.Event]
	cfg.OnEvent = func(e driftdb.Event) {
		if e.Scope == driftdb.ScopeCapture || e.Scope == driftdb.ScopeCheckpoint {
			noticed.Store(&e)
		}
	}
	before := runtime.NumGoroutine()
	var next atomic.Int64
	var slowest time.Duration
	fate := map[int64]error{}
	for round := range rounds {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		l := openLoad(t, cfg, &next)
		mixture := l.mix(r)
		compareFates(t, l.db, fate)
		if n := l.db.Metrics().Barriers; n > 0 || noticed.Load() != nil {
			t.Fatalf("round %d finds %d barriers: %v", round, n, noticed.Load())
		}
		time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
		t.Logf("round %d: %s", round, mixture)
		slowest = max(slowest, closeSoon(t, l.db))
		if n := openFiles(filepath.Dir(cfg.Path)); n > 0 {
			t.Errorf("round %d: %d descriptors are open, after %s", round, n, mixture)
		}
		l.end()
		fate = l.fate
		if t.Failed() {
			return
		}
	}
	t.Logf("%d closes, the slowest took %v; %d writes", rounds, slowest, next.Load())
	noGoroutines(t, before)
	l := openLoad(t, cfg, &next)
	defer l.db.Close()
	compareFates(t, l.db, fate)
	systemtest.Check(t, systemtest.RestoreAndCompare(l.db, cfg, t.TempDir()))
}

// TestCloseLeavesNoDoubt closes under each kind of writer alone: the next Open knows
// that nobody else has written.
func TestCloseLeavesNoDoubt(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(loadWriters)) {
		for _, connections := range []int{0, 1} {
			cfg := systemtest.Config(t)
			cfg.Store = nil
			var next atomic.Int64
			fate := map[int64]error{}
			for range 4 {
				l := openLoad(t, cfg, &next)
				compareFates(t, l.db, fate)
				if n := l.db.Metrics().Barriers; n > 0 {
					t.Errorf("%s, %d connections of SQL: %d barriers", name, connections, n)
				}
				l.db.SQL().SetMaxOpenConns(connections)
				for range 2 {
					l.all.Go(func() { l.write(name) })
				}
				time.Sleep(5 * time.Millisecond)
				closeSoon(t, l.db)
				l.end()
				fate = l.fate
			}
		}
	}
}

// load is a database in use.
type load struct {
	t    *testing.T
	db   *driftdb.DB
	rows *driftdb.Repository[systemtest.LoadRow]
	next *atomic.Int64 // numbers of rows

	closed chan bool // the database has been
	all    sync.WaitGroup
	mu     sync.Mutex
	fate   map[int64]error // of each row of this round; nil: acknowledged
}

const loadInsert = "INSERT INTO rows(id, createdAt, updatedAt, n) VALUES(lower(hex(randomblob(16))), 1, 1, ?)"

func openLoad(t *testing.T, cfg driftdb.Config, next *atomic.Int64) *load {
	t.Helper()
	db, err := driftdb.Open(context.Background(), cfg)
	systemtest.Check(t, err)
	rows, err := driftdb.Define[systemtest.LoadRow](context.Background(), db, "rows")
	systemtest.Check(t, err)
	_, err = rows.Upsert(context.Background(), driftdb.Where{"n": 0}, driftdb.Set{"n": 0}) // one for those who read
	systemtest.Check(t, err)
	return &load{t: t, db: db, rows: rows, next: next, closed: make(chan bool), fate: map[int64]error{}}
}

// mix starts some of everything, and says what.
func (l *load) mix(r *rand.Rand) string {
	var names []string
	pick := func(name string) bool {
		if r.IntN(3) > 0 {
			return false
		}
		names = append(names, name)
		return true
	}
	if pick("one connection of SQL") {
		l.db.SQL().SetMaxOpenConns(1)
	}
	for _, name := range slices.Sorted(maps.Keys(loadWriters)) {
		for pick(name) {
			l.all.Go(func() { l.write(name) })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(loadCalls)) {
		if pick(name) {
			l.all.Go(func() {
				for i := 0; i < 1000 && loadCalls[name](l) == nil; i++ {
					runtime.Gosched()
				}
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(loadHolds)) {
		if pick(name) {
			l.all.Go(func() { l.hold(name) })
		}
	}
	return strings.Join(names, ", ")
}

// write writes rows until it is told that the database is closed.
func (l *load) write(name string) {
	for {
		n := l.next.Add(1)
		err := loadWriters[name](l, n)
		l.note(name, n, err)
		if err != nil {
			return
		}
	}
}

// note keeps what has become of a row.
func (l *load) note(who string, n int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fate[n] = err
	if err != nil && !errors.Is(err, driftdb.ErrClosed) && err.Error() != "sql: database is closed" {
		l.t.Errorf("%s: %v", who, err)
	}
}

// hold does something that outlives Close, and then goes on with it: that must
// fail.
func (l *load) hold(name string) {
	n := l.next.Add(1)
	err := loadHolds[name](l, n, func() { <-l.closed })
	if err == nil {
		l.t.Errorf("%s: it went on after Close", name)
	}
	l.note(name, n, err)
}

// end lets go on what has outlived Close, and waits for all.
func (l *load) end() {
	close(l.closed)
	done := make(chan bool)
	go func() { l.all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		stacks := make([]byte, 1<<20)
		l.t.Fatalf("somebody still waits:\n%s", stacks[:runtime.Stack(stacks, true)])
	}
}

// compareFates: what was acknowledged is there, and what failed is not.
func compareFates(t *testing.T, db *driftdb.DB, fate map[int64]error) {
	t.Helper()
	there := map[int64]bool{}
	all, err := driftdb.Select[int64](context.Background(), db, "SELECT n FROM rows")
	systemtest.Check(t, err)
	for _, n := range all {
		there[n] = true
	}
	for n, err := range fate {
		switch {
		case err == nil && !there[n]:
			t.Errorf("row %d was acknowledged, and is not there", n)
		case err != nil && there[n]:
			t.Errorf("row %d is there, although: %v", n, err)
		}
	}
}

var loadWriters = map[string]func(l *load, n int64) error{
	"Create": func(l *load, n int64) error {
		_, err := l.rows.Create(context.Background(), systemtest.LoadRow{N: n})
		return err
	},
	"CreateMany": func(l *load, n int64) error {
		_, err := l.rows.CreateMany(context.Background(), []systemtest.LoadRow{{N: n}})
		return err
	},
	"Exec": func(l *load, n int64) error {
		_, err := l.db.Exec(context.Background(), loadInsert, n)
		return err
	},
	"a script": func(l *load, n int64) error {
		_, err := l.db.Exec(context.Background(), "BEGIN; "+loadInsert+"; COMMIT", n)
		return err
	},
	"Tx": func(l *load, n int64) error {
		return l.db.Tx(context.Background(), func(tx *driftdb.Tx) error {
			return tx.Savepoint(context.Background(), func(tx *driftdb.Tx) error {
				_, err := l.rows.In(tx).Create(context.Background(), systemtest.LoadRow{N: n})
				return err
			})
		})
	},
	"SQL": func(l *load, n int64) error {
		_, err := l.db.SQL().Exec(loadInsert, n)
		return err
	},
	"SQL, a transaction": func(l *load, n int64) error {
		tx, err := l.db.SQL().Begin()
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.Exec(loadInsert, n); err != nil {
			return err
		}
		return tx.Commit()
	},
	"SQL, prepared": func(l *load, n int64) error {
		st, err := l.db.SQL().Prepare(loadInsert)
		if err != nil {
			return err
		}
		defer st.Close()
		_, err = st.Exec(n)
		return err
	},
	"SQL, returning": func(l *load, n int64) error {
		var id string
		return l.db.SQL().QueryRow(loadInsert+" RETURNING id", n).Scan(&id)
	},
	"SQL, a connection": func(l *load, n int64) error {
		c, err := l.db.SQL().Conn(context.Background())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.ExecContext(context.Background(), loadInsert, n)
		return err
	},
}

// loadCalls neither write nor outlive Close.
var loadCalls = map[string]func(l *load) error{
	"Flush":    func(l *load) error { return l.db.Flush(context.Background()) },
	"Snapshot": func(l *load) error { _, err := l.db.Snapshot(context.Background()); return err },
	"Collect":  func(l *load) error { _, _, err := l.db.CollectGarbage(context.Background()); return err },
	"StopSync": func(l *load) error { l.db.StopSync(); l.db.StartSync(); return nil },
	"Metrics":  func(l *load) error { l.db.Metrics(); return nil },
	"Find": func(l *load) error {
		_, err := l.rows.Find(context.Background(), driftdb.Query{Limit: 10})
		return err
	},
	"Each": func(l *load) error {
		for _, err := range l.rows.Each(context.Background(), driftdb.Query{Limit: 1000}) {
			if err != nil {
				return err
			}
		}
		return nil
	},
	"ReadTx": func(l *load) error {
		return l.db.ReadTx(context.Background(), func(tx *driftdb.Tx) error {
			_, err := l.rows.In(tx).Count(context.Background())
			return err
		})
	},
	"SQL, reading": func(l *load) error {
		var n int64
		return l.db.SQL().QueryRow("SELECT count(*) FROM rows").Scan(&n)
	},
}

// loadHolds begin something, call outlive, which returns when the database is
// closed, and go on.
var loadHolds = map[string]func(l *load, n int64, outlive func()) error{
	"a held Tx": func(l *load, n int64, outlive func()) error {
		return l.db.Tx(context.Background(), func(tx *driftdb.Tx) error {
			_, err := tx.Exec(context.Background(), loadInsert, n)
			outlive()
			return err
		})
	},
	"a held ReadTx": func(l *load, _ int64, outlive func()) error {
		return l.db.ReadTx(context.Background(), func(tx *driftdb.Tx) error {
			outlive()
			_, err := driftdb.Select[int64](context.Background(), tx, "SELECT count(*) FROM rows")
			return err
		})
	},
	"a held loop": func(l *load, _ int64, outlive func()) error {
		next, stop := iter.Pull2(l.rows.Each(context.Background(), driftdb.Query{}))
		defer stop()
		_, err, more := next()
		if err != nil || !more {
			return err
		}
		outlive()
		_, err, _ = next()
		return err
	},
	"a held sql.Tx": func(l *load, n int64, outlive func()) error {
		tx, err := l.db.SQL().BeginTx(context.Background(), &sql.TxOptions{})
		if err != nil {
			return err
		}
		_, err = tx.Exec(loadInsert, n)
		outlive()
		return errors.Join(err, tx.Commit())
	},
	"held sql.Rows": func(l *load, _ int64, outlive func()) error {
		rows, err := l.db.SQL().Query("SELECT 1 UNION ALL SELECT 2")
		if err != nil {
			return err
		}
		rows.Next()
		outlive()
		if rows.Next() {
			return nil
		}
		return rows.Err()
	},
	"a held sql.Conn": func(l *load, n int64, outlive func()) error {
		c, err := l.db.SQL().Conn(context.Background())
		if err != nil {
			return err
		}
		outlive()
		_, err = c.ExecContext(context.Background(), loadInsert, n)
		return err
	},
	"a held sql.Stmt": func(l *load, n int64, outlive func()) error {
		st, err := l.db.SQL().Prepare(loadInsert)
		if err != nil {
			return err
		}
		outlive()
		_, err = st.Exec(n)
		return err
	},
}

// openFiles is how many descriptors this process has below dir; 0 where the
// system does not say.
func openFiles(dir string) (n int) {
	const fds = "/proc/self/fd"
	list, _ := os.ReadDir(fds)
	for _, fd := range list {
		if name, err := os.Readlink(filepath.Join(fds, fd.Name())); err == nil && strings.HasPrefix(name, dir+"/") {
			n++
		}
	}
	return n
}

// noGoroutines: there are no more than before, if not at once: database/sql's own
// ends by itself.
func noGoroutines(t *testing.T, before int) {
	t.Helper()
	systemtest.Eventually(t, fmt.Sprintf("no more than %d goroutines", before), func() bool { return runtime.NumGoroutine() <= before })
}
