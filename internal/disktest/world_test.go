package disktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/vfs/vfstest"
)

func TestMain(m *testing.M) {
	if err := vfstest.Install(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// parts is how many rows each transaction has.
const parts = 3

const made = `CREATE TABLE part(w INTEGER, n INTEGER, i INTEGER, v TEXT, PRIMARY KEY(w, n, i));
	CREATE TABLE total(w INTEGER PRIMARY KEY, n INTEGER)`

// state is how many transactions of each writer a database holds: its first ones. A
// transaction adds parts rows and counts itself in another table.
type state map[int]int

// covers says whether s has all that less has.
func (s state) covers(less state) bool {
	for w, n := range less {
		if s[w] < n {
			return false
		}
	}
	return true
}

// promise is what a caller was told: these transactions are in the bucket; or these are
// on the disk.
type promise struct {
	what string
	state
}

const (
	uploaded = "uploaded"
	durable  = "durable"
)

// world is a database on a disk that is watched, and its bucket.
type world struct {
	t      testing.TB
	disk   *vfstest.Disk
	bucket *bucket
	cfg    driftdb.Config
	db     *driftdb.DB

	start int   // operations in the log before the scenario begins
	kept  state // what was uploaded by then
	stale bool  // the database was opened, and is behind the bucket
	wrong error // an answer that was
	said  error // what the scenario ended with

	mu   sync.Mutex
	done state
}

// newWorld is an empty folder and an empty bucket.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, bucket: newBucket(), done: state{}}
	dir := systemtest.MemoryDir(t)
	w.cfg = config(dir, w.bucket)
	return w
}

// watch begins to watch the disk: what there is now is on it.
func (w *world) watch() {
	w.t.Helper()
	var err error
	if w.disk, err = vfstest.Watch(filepath.Dir(w.cfg.Path)); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.disk.Close)
	w.bucket.watch(w.disk)
	w.disk.Note(promise{uploaded, w.kept})
	w.start = len(w.disk.Ops())
}

func config(dir string, b *bucket) driftdb.Config {
	return driftdb.Config{
		Name: "app", Path: filepath.Join(dir, "app.sqlite"), Store: b, ManualSync: true, AutoRestore: true, NodeID: "n1",
		SyncInterval: time.Hour, OnEvent: func(driftdb.Event) {},
	}
}

// open opens the database, and makes its tables if they are missing.
func (w *world) open() error {
	db, err := driftdb.Open(context.Background(), w.cfg)
	if err != nil {
		return err
	}
	w.db = db
	return makeTables(db)
}

func makeTables(db *driftdb.DB) error {
	ctx := context.Background()
	there, err := driftdb.Select[int](ctx, db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('part', 'total')")
	if err != nil || there[0] == 2 {
		return err
	}
	return db.Tx(ctx, func(tx *driftdb.Tx) error {
		_, err := tx.Exec(ctx, made)
		return err
	})
}

var errNotOpen = errors.New("the database is not open")

// write commits transactions of a writer.
func (w *world) write(writer, transactions int) error {
	if w.db == nil {
		return errNotOpen
	}
	for range transactions {
		w.mu.Lock()
		n := w.done[writer] + 1
		w.mu.Unlock()
		if err := transaction(w.db, writer, n); err != nil {
			return err
		}
		w.mu.Lock()
		w.done[writer] = n
		w.mu.Unlock()
	}
	return nil
}

func transaction(db *driftdb.DB, writer, n int) error {
	ctx := context.Background()
	return db.Tx(ctx, func(tx *driftdb.Tx) error {
		for i := range parts {
			if _, err := tx.Exec(ctx, "INSERT INTO part VALUES(?, ?, ?, ?)", writer, n, i, strings.Repeat("v", 200*n%1500)); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "INSERT INTO total VALUES(?, 1) ON CONFLICT DO UPDATE SET n = n + 1", writer)
		return err
	})
}

// committed is what has been committed by now.
func (w *world) committed() state {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.done)
}

// promised notes that a call which makes a promise has returned; before is what was
// committed before it.
func (w *world) promised(what string, before state, err error) error {
	switch {
	case err != nil:
	case w.disk != nil:
		w.disk.Note(promise{what, before})
	case what == uploaded:
		w.kept = before
	}
	return err
}

func (w *world) flush() error {
	if w.db == nil {
		return errNotOpen
	}
	before := w.committed()
	return w.promised(uploaded, before, w.db.Flush(context.Background()))
}

func (w *world) snapshot() error {
	if w.db == nil {
		return errNotOpen
	}
	before := w.committed()
	_, err := w.db.Snapshot(context.Background())
	return w.promised(uploaded, before, err)
}

// agrees says whether the database answers with what was committed.
func (w *world) agrees() error {
	if w.db == nil {
		return errNotOpen
	}
	s, err := stateOf(w.db)
	if want := w.committed(); err == nil && !maps.Equal(s, want) {
		err = fmt.Errorf("%w: it has %v, and %v was committed", errWrong, s, want)
	}
	return err
}

// close closes the database. What was committed is on disk after that: the last
// connection copies the WAL home.
func (w *world) close() error {
	if w.db == nil {
		return errNotOpen
	}
	if err := w.agrees(); errors.Is(err, errWrong) && !w.stale {
		w.wrong = err
	}
	before := w.committed()
	err := w.db.Close()
	w.db = nil
	return w.promised(durable, before, err)
}

var errWrong = errors.New("a wrong answer")

// stateOf reads what a database holds, and refuses parts of transactions.
func stateOf(db *driftdb.DB) (state, error) {
	ctx := context.Background()
	s := state{}
	there, err := driftdb.Select[int](ctx, db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('part', 'total')")
	if err != nil || there[0] == 0 {
		return s, err
	}
	if there[0] == 1 {
		return s, fmt.Errorf("%w: half of a transaction: one of two tables", errWrong)
	}
	type row struct{ W, N, Last, Rows, Other int }
	rows, err := driftdb.Select[row](ctx, db, `SELECT total.w, total.n, coalesce(max(part.n), 0) AS last, count(part.n) AS rows,
		total(length(v) <> 200*part.n%1500 OR replace(v, 'v', '') <> '') AS other
		FROM total LEFT JOIN part ON part.w = total.w GROUP BY total.w`)
	if err != nil {
		return s, err
	}
	for _, r := range rows {
		if r.Last != r.N || r.Rows != parts*r.N {
			return s, fmt.Errorf("%w: half of a transaction: writer %d has %d, and %d rows up to %d", errWrong, r.W, r.N, r.Rows, r.Last)
		}
		if r.Other > 0 {
			return s, fmt.Errorf("%w: %d values of writer %d are not those that were written", errWrong, r.Other, r.W)
		}
		s[r.W] = r.N
	}
	stray, err := driftdb.Select[int](ctx, db, "SELECT count(*) FROM part WHERE w NOT IN (SELECT w FROM total)")
	if err == nil && stray[0] != 0 {
		err = fmt.Errorf("%w: half of a transaction: %d rows that are not counted", errWrong, stray[0])
	}
	return s, err
}
