package consume_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestWaitTrimmed: the log is trimmed again and again under readers that wait, and under
// one that is slow: both get every change.
func TestWaitTrimmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := systemtest.Open(t, systemtest.Config(t))
		systemtest.Some(t, db, "t", 1)
		ctx, cancel := context.WithCancel(t.Context())
		next := make(chan bool)
		var slow, quick []int64
		done := make(chan bool)
		go func() {
			defer close(done)
			for c, err := range db.Changes(ctx, driftdb.ChangeQuery{From: 1, Wait: true}) {
				if slow = append(slow, c.Sequence); err != nil {
					return
				}
				<-next
			}
		}()
		go func() {
			for c, err := range db.Changes(ctx, driftdb.ChangeQuery{From: 1, Wait: true}) {
				if err == nil {
					quick = append(quick, c.Sequence)
				}
			}
		}()
		for range 20 {
			systemtest.Some(t, db, "t", 3)
			systemtest.Check(t, db.Flush(t.Context()))
			next <- true
		}
		for synctest.Wait(); int64(len(slow)) < db.Sequence(); synctest.Wait() {
			next <- true
		}
		for i := range slow {
			if slow[i] != int64(i+1) || quick[i] != int64(i+1) {
				t.Fatalf("change %d comes as %d to the slow one, as %d to the quick one", i+1, slow[i], quick[i])
			}
		}
		cancel()
		close(next)
		<-done
	})
}

// TestWaitCollapsed: a reader in the middle of changes that the file gives up, because the
// bucket cannot be reached, is told the barrier that takes their place, and so is a
// consumer; both go on after it.
func TestWaitCollapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		store := objstoretest.Break(cfg.Store, nil)
		cfg.Store, cfg.ManualSync, cfg.MaxLogBytes = store, false, 256<<10
		db := systemtest.Open(t, cfg)
		makeNotes(t, db, "notes")
		systemtest.Some(t, db, "t", 2)
		systemtest.Check(t, db.Flush(t.Context()))
		store.SetHook(objstoretest.From(1, objstoretest.Fault{Kind: objstoretest.Fail}))
		fill := func(n int) {
			for i := range n {
				systemtest.Exec(t, db, "INSERT INTO t(v) VALUES(?)", strings.Repeat("x", 1000))
				if i%50 == 0 {
					time.Sleep(6 * time.Second)
				}
			}
		}
		for db.Metrics().Barriers == 0 { // from here on nothing is about to be sent
			fill(50)
		}
		fill(10)
		ctx, cancel := context.WithCancel(t.Context())
		consumed := make(chan error)
		consumer, stop := context.WithCancel(ctx)
		go func() { consumed <- db.Consume(consumer, "notes", note("notes", never)) }()
		synctest.Wait()
		stop()
		<-consumed
		at := db.Sequence() // in the middle of what will be given up
		var told []driftdb.Change
		proceed, done := make(chan bool), make(chan bool)
		go func() {
			defer close(done)
			for c, err := range db.Changes(ctx, driftdb.ChangeQuery{From: at, Wait: true}) {
				if err != nil {
					return
				}
				if told = append(told, c); len(told) == 1 {
					<-proceed
				}
			}
		}()
		synctest.Wait()
		fill(500)
		if n := db.Metrics().Barriers; n < 2 {
			t.Fatalf("%d times something was given up", n)
		}
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('after')")
		last := db.Sequence()
		close(proceed)
		synctest.Wait()
		if b := told[1]; b.Operation != driftdb.OperationBarrier || b.Sequence > at || !b.Last || told[len(told)-1].Sequence != last {
			t.Errorf("a reader that had change %d is told of change %d next, %s", at, b.Sequence, b.Operation)
		}
		go func() { consumed <- db.Consume(ctx, "notes", note("notes", never)) }()
		synctest.Wait()
		if got := notes(t, db, "notes"); len(got) == 0 || got[0] != told[1].Sequence || got[len(got)-1] != last {
			t.Errorf("a consumer is told %d changes from %d on", len(got), got[0])
		}
		cancel()
		<-done
		<-consumed
		store.SetHook(nil)
	})
}

// TestChangesGone: changes that are neither in the file nor in the bucket are an error that
// says which, and are not passed over.
func TestChangesGone(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 4) // up to 5
	systemtest.Check(t, db.Flush(ctx))
	old := systemtest.BucketOf(t, cfg.Store)
	systemtest.Some(t, db, "t", 4) // up to 9
	systemtest.Check(t, db.Flush(ctx))
	systemtest.Some(t, db, "t", 4)
	systemtest.Check(t, db.Flush(ctx))
	for _, c := range []struct {
		cfg  func(*driftdb.Config)
		want string
	}{
		{func(c *driftdb.Config) { c.Store = old.Store(t) }, "and the bucket ends with change 5"},
		{func(c *driftdb.Config) { c.Store = nil }, "and there is no store"},
	} {
		changed := cfg
		c.cfg(&changed)
		var got error
		for _, err := range systemtest.MustRead(t, changed).Changes(ctx, driftdb.ChangeQuery{From: 3}) {
			got = err
		}
		if !errors.Is(got, driftdb.ErrNoBackup) || !strings.Contains(got.Error(), c.want) {
			t.Errorf("%v, want %q", got, c.want)
		}
	}
}
