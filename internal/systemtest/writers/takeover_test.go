package writers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// distant is a store whose every request takes a while.
type distant struct {
	objstore.Store
	latency time.Duration
}

func (d distant) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	time.Sleep(d.latency)
	return d.Store.Put(ctx, key, body, opts)
}

func (d distant) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	time.Sleep(d.latency)
	return d.Store.Get(ctx, key, opts)
}

func (d distant) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	time.Sleep(d.latency)
	return d.Store.List(ctx, prefix, opts)
}

func (d distant) Delete(ctx context.Context, key string) error {
	time.Sleep(d.latency)
	return d.Store.Delete(ctx, key)
}

// TestTakeoverAlive lets one machine take over from another that is alive and commits
// every 5 ms, as in a rolling deploy, by way of a store that is slower than that. It
// succeeds at the new one's first change, nothing that was acknowledged is lost, and what the
// old writer has beside the history is a branch. "make takeover" does it a hundred
// times with a store on another continent.
func TestTakeoverAlive(t *testing.T) {
	rounds, latency := systemtest.Setting(t, "DRIFTDB_TAKEOVERS", 4), time.Duration(systemtest.Setting(t, "DRIFTDB_LATENCY", 8))*time.Millisecond
	var longest time.Duration
	beside := 0
	for round := range rounds {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			r := takeover{T: t, latency: latency, bothFar: round%2 == 1, oldDisk: round%4 >= 2}
			r.run()
			longest = max(longest, r.took)
			beside += r.beside
		})
	}
	t.Logf("%d takeovers with requests of %s; the longest took %s; %d rows are in branches", rounds, latency, longest, beside)
}

type takeover struct {
	*testing.T
	latency time.Duration
	bothFar bool // the old writer's store is slow, too
	oldDisk bool // the new one has been here before: it need not restore
	took    time.Duration
	beside  int // rows that are in the branch only
}

func (r *takeover) run() {
	ctx := r.Context()
	bucket := objstore.Mem()
	far := distant{bucket, r.latency}
	cfg := driftdb.Config{Name: "app", Path: filepath.Join(r.TempDir(), "a.sqlite"), Store: bucket, SyncInterval: max(10*time.Millisecond, r.latency)}
	if r.bothFar {
		cfg.Store = far
	}
	next := driftdb.Config{Name: "app", Path: filepath.Join(r.TempDir(), "b.sqlite"), Store: far, AutoRestore: true}
	a := systemtest.Open(r, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Exec(r, a, "CREATE TABLE t(n INTEGER PRIMARY KEY)")
	systemtest.Check(r, a.Flush(ctx))
	if r.oldDisk {
		there := next
		there.ManualSync = true
		b := systemtest.Open(r, there)
		systemtest.Check(r, b.Close())
	}
	w := startWriting(a)
	time.Sleep(20 * cfg.SyncInterval)

	began := time.Now()
	b := systemtest.Open(r, next)
	systemtest.Exec(r, b, "INSERT INTO t VALUES(-1)")
	r.took = time.Since(began)
	has := rowsOf(r, b)

	time.Sleep(2 * cfg.SyncInterval) // it does not know yet
	w.end()
	err := a.Flush(ctx)
	m := a.Metrics()
	if !errors.Is(err, driftdb.ErrFenced) {
		r.Fatalf("flush of the old writer: %v", err)
	}
	if len(has) < w.until(m.ConfirmedSequence) {
		r.Errorf("%d rows were confirmed, and the new writer has %d", w.until(m.ConfirmedSequence), len(has))
	}
	if mine := rowsOf(r, a); len(has) > len(mine) || !slices.Equal(has, mine[:len(has)]) {
		r.Errorf("the new writer has rows that the old one never had")
	}
	r.branch(cfg, len(has), rowsOf(r, a), m.SyncedSequence == a.Sequence())

	systemtest.Check(r, b.Flush(ctx))
	path := filepath.Join(r.TempDir(), "restored.sqlite")
	_, err = driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Store: bucket, Path: path})
	systemtest.Check(r, err)
	dbtest.Equal(r.T, next.Path, path)
}

// branch checks that all that the old writer has is in the bucket: in the history,
// which ends after some of its rows, or in a branch.
func (r *takeover) branch(cfg driftdb.Config, taken int, all []int64, sent bool) {
	r.Helper()
	r.beside = len(all) - taken
	info := systemtest.Backup(r, cfg)
	if r.beside == 0 || !sent || len(info.Branches) != 1 {
		r.Fatalf("of %d rows %d are in the history; all are sent: %v; branches: %+v", len(all), taken, sent, info.Branches)
	}
	path := filepath.Join(r.TempDir(), "branch.sqlite")
	_, err := driftdb.Restore(r.Context(), driftdb.RestoreConfig{Name: "app", Store: cfg.Store, Path: path, Branch: info.Branches[0].ID})
	systemtest.Check(r, err)
	dbtest.Equal(r.T, cfg.Path, path)
}

func rowsOf(t testing.TB, db *driftdb.DB) []int64 {
	t.Helper()
	rows, err := driftdb.Select[int64](t.Context(), db, "SELECT n FROM t WHERE n >= 0 ORDER BY n")
	systemtest.Check(t, err)
	return rows
}

// writing is somebody who commits a row every 5 ms until it is refused.
type writing struct {
	stop chan struct{}
	done sync.WaitGroup
	at   []int64 // the sequences of the rows
}

func startWriting(db *driftdb.DB) *writing {
	w := &writing{stop: make(chan struct{})}
	w.done.Go(func() {
		for n := 0; ; n++ {
			if _, err := db.Exec(context.Background(), "INSERT INTO t VALUES(?)", n); err != nil {
				return
			}
			w.at = append(w.at, db.Sequence())
			select {
			case <-w.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return w
}

func (w *writing) end() {
	close(w.stop)
	w.done.Wait()
}

// until is how many rows were written up to sequence.
func (w *writing) until(sequence int64) int {
	n := 0
	for _, at := range w.at {
		if at <= sequence {
			n++
		}
	}
	return n
}
