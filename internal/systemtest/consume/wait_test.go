package consume_test

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// counted is a context that counts how often somebody is about to wait for its end.
type counted struct {
	context.Context
	waits atomic.Int64
}

func (c *counted) Done() <-chan struct{} {
	c.waits.Add(1)
	return c.Context.Done()
}

// reading is a loop over changes on a goroutine of its own.
type reading struct {
	last  atomic.Int64 // the last change that it got
	err   error        // when done is closed
	done  chan struct{}
	stops context.CancelFunc
	ctx   *counted
}

func read(t *testing.T, changes func(context.Context, driftdb.ChangeQuery) iter.Seq2[driftdb.Change, error], q driftdb.ChangeQuery) *reading {
	ctx, cancel := context.WithCancel(t.Context())
	r := &reading{done: make(chan struct{}), stops: cancel, ctx: &counted{Context: ctx}}
	go func() {
		defer close(r.done)
		for c, err := range changes(r.ctx, q) {
			if r.err = err; err == nil {
				r.last.Store(c.Sequence)
			}
		}
	}()
	return r
}

// TestWaitSleeps: readers that wait do nothing until something is committed, by whatever
// way, and have it in the same moment; and they end in the moment of Close.
func TestWaitSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 1)
		repo := systemtest.Define[systemtest.LoadRow](t, db, "rows")
		var all []*reading
		for range 50 {
			all = append(all, read(t, db.Changes, driftdb.ChangeQuery{From: 1, Wait: true}))
		}
		synctest.Wait()
		for _, commit := range []struct {
			by string
			do func() error
		}{
			{"Exec", func() error { _, err := db.Exec(t.Context(), "INSERT INTO t(v) VALUES('more')"); return err }},
			{"a repository", func() error { _, err := repo.Create(t.Context(), systemtest.LoadRow{N: 1}); return err }},
			{"Tx", func() error {
				return db.Tx(t.Context(), func(tx *driftdb.Tx) error {
					_, err := tx.Exec(t.Context(), "UPDATE t SET v = 'other'")
					return err
				})
			}},
			{"SQL", func() error { _, err := db.SQL().Exec("DELETE FROM t WHERE id = 1"); return err }},
			{"Undo", func() error {
				_, err := db.Undo(t.Context(), driftdb.Undo{From: db.Sequence(), To: db.Sequence()})
				return err
			}},
			{"a statement of the schema", func() error { _, err := db.Exec(t.Context(), "CREATE TABLE u(v)"); return err }},
			{"a barrier", func() error { return db.Vacuum(t.Context()) }},
		} {
			for _, r := range all {
				r.ctx.waits.Store(0)
			}
			time.Sleep(time.Hour)
			before := time.Now()
			for _, r := range all {
				if n := r.ctx.waits.Load(); n != 0 {
					t.Fatalf("before %s: within an hour without changes a reader woke up %d times", commit.by, n)
				}
			}
			was := db.Sequence()
			if err := commit.do(); err != nil {
				t.Fatalf("%s: %v", commit.by, err)
			}
			synctest.Wait()
			for _, r := range all {
				if got := r.last.Load(); got != db.Sequence() || got == was {
					t.Fatalf("%s: a reader has change %d of %d; before there were %d", commit.by, got, db.Sequence(), was)
				}
			}
			if late := time.Since(before); late > time.Millisecond {
				t.Errorf("%s: it took %s", commit.by, late)
			}
		}
		all[0].stops()
		synctest.Wait()
		if <-all[0].done; !errors.Is(all[0].err, context.Canceled) {
			t.Errorf("it ends with %v", all[0].err)
		}
		systemtest.Check(t, db.Flush(t.Context()))
		systemtest.Check(t, db.Close())
		before := time.Now()
		for _, r := range all[1:] {
			if <-r.done; !errors.Is(r.err, driftdb.ErrClosed) {
				t.Errorf("after Close it ends with %v", r.err)
			}
		}
		if late := time.Since(before); late != 0 {
			t.Errorf("it ends %s after Close", late)
		}
	})
}

// TestWaitReadOnly: a database that only reads has what another one commits soon.
func TestWaitReadOnly(t *testing.T) {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1)
	r := read(t, systemtest.MustRead(t, cfg).Changes, driftdb.ChangeQuery{From: 1, Wait: true})
	defer r.stops()
	for range 3 {
		systemtest.Some(t, db, "t", 1)
		systemtest.Eventually(t, "the reader has the change", func() bool { return r.last.Load() == db.Sequence() })
	}
}
