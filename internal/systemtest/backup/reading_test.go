package backup_test

import (
	"context"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// asked is a store that remembers which objects were read, and how many pages of a
// thousand keys were listed.
type asked struct {
	objstore.Store
	mu    sync.Mutex
	got   []string
	pages int
}

func (a *asked) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	a.mu.Lock()
	a.got = append(a.got, key)
	a.mu.Unlock()
	return a.Store.Get(ctx, key, opts)
}

func (a *asked) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		keys := 0
		defer func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.pages += max(1, (keys+999)/1000)
		}()
		for info, err := range a.Store.List(ctx, prefix, opts) {
			if keys++; !yield(info, err) {
				return
			}
		}
	}
}

// reset returns what was asked for, and forgets it: the batches and other objects that
// were read, and the pages.
func (a *asked) reset() (batches, others []string, pages int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range a.got {
		if strings.Contains(key, "/logs/") {
			batches = append(batches, key[strings.LastIndex(key, "/")+1:])
		} else {
			others = append(others, key)
		}
	}
	pages = a.pages
	a.got, a.pages = nil, 0
	return batches, others, pages
}

// TestChangesRequests: of a backup of a thousand batches, whoever reads from change N on
// gets the manifest, one page of the listing, and the batches from N on; whoever waits for
// more gets the manifest and one page each time.
func TestChangesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		store := &asked{Store: objstore.Mem()}
		cfg.Store, cfg.MaxBatchSize = store, 1
		db := systemtest.Open(t, cfg)
		const last = 1000
		systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
		for range last - 1 {
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('x')")
		}
		systemtest.Check(t, db.Flush(t.Context()))
		if n := len(systemtest.Batches(t, store)); n < last {
			t.Fatalf("there are %d batches", n)
		}
		for from, want := range map[int64]int{1000: 1, 951: 50, 500: 501} {
			store.reset()
			got := systemtest.Sequences(t, db.Backup().Changes(t.Context(), driftdb.ChangeQuery{From: from}))
			batches, others, pages := store.reset()
			if len(got) != want || len(others) != 1 || pages != 1 || len(batches) > want {
				t.Errorf("from %d: %d changes by %d batches, %s and %d pages", from, len(got), len(batches), others, pages)
			}
			for _, name := range batches {
				if to, err := strconv.ParseInt(name[13:25], 10, 64); err != nil || to < from {
					t.Errorf("from %d it reads %s", from, name)
				}
			}
			if slices.Sort(batches); len(slices.Compact(slices.Clone(batches))) != len(batches) {
				t.Errorf("from %d it reads a batch twice: %s", from, batches)
			}
		}
		store.reset()
		got := 0
		for _, err := range db.Backup().Changes(t.Context(), driftdb.ChangeQuery{Reverse: true}) {
			systemtest.Check(t, err)
			if got++; got == 10 {
				break
			}
		}
		if batches, others, pages := store.reset(); len(batches) > 30 || len(others) != 1 || pages != 1 {
			t.Errorf("the last ten: %d batches, %s and %d pages", len(batches), others, pages)
		}
		ctx, cancel := context.WithCancel(t.Context())
		f := follow(db.Backup().Changes(ctx, driftdb.ChangeQuery{From: last, Wait: true}))
		f.wait(t, last)
		time.Sleep(time.Second)
		store.reset()
		time.Sleep(time.Minute) // twelve times
		if batches, others, pages := store.reset(); len(batches) != 0 || len(others) != 12 || pages != 12 {
			t.Errorf("a minute of waiting: %s, %d others, %d pages", batches, len(others), pages)
		}
		cancel()
		_ = f.end(t)
		systemtest.Check(t, db.Close())
	})
}

// TestChangesSelected: whatever a query selects by times, transactions and order is the
// same from the log, the bucket, and both, and what the whole log says.
func TestChangesSelected(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 0))
		ctx, cfg := t.Context(), systemtest.Config(t)
		db := systemtest.Open(t, cfg)
		begin := time.Now()
		systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
		systemtest.Exec(t, db, "CREATE TABLE u(id INTEGER PRIMARY KEY, v)")
		for range 60 {
			time.Sleep(time.Duration(r.IntN(3)) * time.Second)
			table := []string{"t", "u"}[r.IntN(2)]
			systemtest.Exec(t, db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) INSERT INTO "+table+"(v) SELECT i FROM n", 1+r.IntN(4))
			if r.IntN(6) == 0 {
				systemtest.Check(t, db.Flush(ctx))
			}
			if r.IntN(15) == 0 {
				systemtest.Must(db.Snapshot(ctx))
			}
		}
		systemtest.Check(t, db.Flush(ctx))
		local := db.Sequence()
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('local')") // is not in the bucket
		var all []driftdb.Change
		for c, err := range db.Changes(ctx, driftdb.ChangeQuery{}) {
			systemtest.Check(t, err)
			all = append(all, c)
		}
		span := int64(time.Since(begin).Seconds()) + 4
		for range 100 {
			q := randomQuery(r, all, begin, span)
			for where, changes := range map[string]iter.Seq2[driftdb.Change, error]{"log": db.Changes(ctx, q), "bucket": db.Backup().Changes(ctx, q)} {
				want := selected(all, q)
				if where == "bucket" {
					want = slices.DeleteFunc(want, func(n int64) bool { return n > local })
				}
				if got := systemtest.Sequences(t, changes); !slices.Equal(got, want) {
					t.Errorf("%s, %+v: %d, want %d", where, q, got, want)
				}
			}
		}
		systemtest.Check(t, db.Close())
	})
}

func randomQuery(r *rand.Rand, all []driftdb.Change, begin time.Time, span int64) (q driftdb.ChangeQuery) {
	last := int64(len(all))
	q.Reverse = r.IntN(2) == 0
	if r.IntN(2) == 0 {
		q.From = 1 + r.Int64N(last)
	}
	if r.IntN(3) == 0 {
		q.To = max(q.From, 1) + r.Int64N(last)
	}
	if r.IntN(2) == 0 {
		q.Since = begin.Add(time.Duration(r.Int64N(span)-2) * time.Second)
	}
	if r.IntN(3) == 0 {
		q.Until = begin.Add(time.Duration(r.Int64N(span)-2) * time.Second)
		if q.Until.Before(q.Since) {
			q.Until, q.Since = q.Since, q.Until
		}
	}
	if r.IntN(6) == 0 {
		q.Tx = all[r.IntN(len(all))].Tx
	}
	if r.IntN(3) == 0 {
		q.Table = "u"
	}
	return q
}

// selected is what a query selects of all changes; here times never go back.
func selected(all []driftdb.Change, q driftdb.ChangeQuery) (out []int64) {
	for _, c := range all {
		if c.Sequence >= q.From && (q.To == 0 || c.Sequence <= q.To) && !c.Time.Before(q.Since) && (q.Until.IsZero() || !c.Time.After(q.Until)) &&
			(q.Tx == 0 || c.Tx == q.Tx) && (q.Table == "" || c.Table == q.Table) {
			out = append(out, c.Sequence)
		}
	}
	if q.Reverse {
		slices.Reverse(out)
	}
	return out
}
