package writer

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// claims starts n goroutines that wait for the turn, one after the other, and note in order
// when they have it. They keep it for keep.
func claims(w *Writer, n int, keep time.Duration, all *sync.WaitGroup) (order func() []int) {
	var mu sync.Mutex
	var got []int
	for i := range n {
		all.Go(func() {
			if w.wait(context.Background(), nil) != nil {
				return
			}
			mu.Lock()
			got = append(got, i)
			mu.Unlock()
			time.Sleep(keep)
			w.leave()
		})
		synctest.Wait()
		time.Sleep(time.Millisecond)
	}
	return func() []int {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
}

// The turn is had in the order of asking. One that asks again as soon as it has left the turn
// is behind those that have lost patience.
func TestTurnOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		var all sync.WaitGroup
		must(t, w.wait(t.Context(), nil))
		order := claims(w, 4, time.Millisecond, &all)
		w.leave()
		must(t, w.wait(t.Context(), nil))
		if got := order(); !slices.Equal(got, []int{0, 1, 2, 3}) {
			t.Errorf("the turn was had by %v", got)
		}
		w.leave()
		all.Wait()
	})
}

// A claim that was woken and does not run yet is overtaken, until it has lost patience.
func TestTurnOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		w.turn.patience = 10 * time.Millisecond
		var all sync.WaitGroup
		must(t, w.wait(t.Context(), nil))
		claims(w, 1, 0, &all)
		w.leave()
		if !w.try() {
			t.Fatal("the turn is free, and nobody else runs")
		}
		time.Sleep(10 * time.Millisecond)
		w.leave()
		if w.try() {
			t.Error("a claim that has lost patience was overtaken")
		}
		all.Wait()
	})
}

// Whoever leaves the turn has done the work that waits.
func TestLeaveWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		l := w.Lend()
		if !l.Try() {
			t.Fatal("the turn is not free")
		}
		var all sync.WaitGroup
		for _, v := range []string{"a", "b", "c"} {
			all.Go(func() { must(t, w.Do(t.Context(), true, insert(v))) })
		}
		synctest.Wait()
		l.Leave()
		if !l.Try() { // before any of the three runs
			t.Fatal("the turn is not free")
		}
		n, err := w.conn.Int("SELECT count(*) FROM t")
		if err != nil || n != 3 {
			t.Errorf("%d of 3 pieces of work are done: %v", n, err)
		}
		l.Leave()
		all.Wait()
	})
}

// A write waits no longer than BusyTimeout for a turn that is lent, and as long as it takes for
// any other. A claim that asks later has its own time.
func TestLentTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		w.turn.limit = time.Second
		must(t, w.wait(t.Context(), nil))
		began := time.Now()
		var all sync.WaitGroup
		all.Go(func() { must(t, w.Do(t.Context(), true, insert("patient"))) })
		time.Sleep(5 * time.Second)
		w.leave()
		all.Wait()

		l := w.Lend()
		if !l.Try() {
			t.Fatal("the turn is not free")
		}
		began = time.Now()
		for _, wait := range []func() error{
			func() error { return w.Do(t.Context(), true, insert("a")) },
			func() error { _, err := w.StandBack(t.Context()); return err },
			func() error { time.Sleep(500 * time.Millisecond); return w.Do(t.Context(), true, insert("b")) },
		} {
			all.Go(func() {
				if err := wait(); !sqlite.IsBusy(err) {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took != 1500*time.Millisecond {
			t.Errorf("the last gave up after %v", took)
		}
		l.Leave()
		must(t, w.Do(t.Context(), true, insert("c")))
	})
}

// A claim that is given up passes on the turn, or the signal that it may be free.
func TestWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		for _, patience := range []time.Duration{0, time.Hour} { // handed the turn, and woken
			w.turn.patience = patience
			must(t, w.wait(t.Context(), nil))
			c := new(claim)
			w.turn.ask(c)
			var all sync.WaitGroup
			order := claims(w, 1, 0, &all)
			w.leave()
			if !w.turn.withdraw(c) {
				t.Error("not withdrawn")
			}
			all.Wait() // a deadlock without the signal
			if len(order()) != 1 {
				t.Error("the next one has not had the turn")
			}
		}
	})
}

// A connection stops to wait for the turn when its time is over or it is interrupted.
func TestLentWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		must(t, w.wait(t.Context(), nil))
		began := time.Now()
		if w.Lend().Wait(time.Minute, func() bool { return time.Since(began) > time.Second }) || time.Since(began) > 2*time.Second {
			t.Errorf("stopped after %v", time.Since(began))
		}
		if w.Lend().Wait(time.Minute, func() bool { return false }) || time.Since(began) < time.Minute {
			t.Errorf("gave up after %v", time.Since(began))
		}
		w.leave()
		if !w.Lend().Wait(time.Minute, func() bool { return false }) {
			t.Error("not had")
		}
		w.Lend().Leave()
	})
}

// Work whose context ends while it waits is not done, and says why.
func TestWaitingCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		must(t, w.wait(t.Context(), nil))
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		var all sync.WaitGroup
		all.Go(func() {
			if err := w.Do(ctx, true, insert("late")); !errors.Is(err, why) {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel(why)
		all.Wait()
		w.leave()
		if n := count(t, w, "SELECT count(*) FROM t"); n != 0 {
			t.Errorf("%d rows", n)
		}
	})
}

// Claimants that were woken and do not run are counted, whatever becomes of their claims, and
// others give way to them when they have stood still.
func TestStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		check := func(when string, want int) {
			t.Helper()
			w.turn.mu.Lock()
			defer w.turn.mu.Unlock()
			if still := w.turn.still.Load() != 0; w.turn.woken != want || still != (want > 0) {
				t.Errorf("%s, %d claimants were woken and do not run, want %d; the moment is set: %v", when, w.turn.woken, want, still)
			}
		}
		ask := func() *claim {
			c := new(claim)
			w.turn.ask(c)
			return c
		}
		must(t, w.wait(t.Context(), nil))
		check("with the turn", 0)
		looks, gives := ask(), ask()
		w.leave()
		check("when one was woken", 1)
		<-looks.ready
		if w.turn.look(looks) != granted {
			t.Fatal("it has not got the turn")
		}
		check("when it runs", 0)
		w.leave()
		check("when the next one was woken", 1)
		if !w.turn.withdraw(gives) {
			t.Fatal("not withdrawn")
		}
		check("when it has given up", 0)

		w.turn.limit = time.Second
		l := w.Lend()
		if !l.Try() {
			t.Fatal("the turn is not free")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // the moment at which it is refused
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if w.wait(ctx, nil) == nil {
				t.Error("had the turn while it was lent")
			}
		})
		all.Go(func() {
			if w.Lend().Wait(time.Second, func() bool { return false }) {
				t.Error("had the turn while it was lent")
			}
		})
		all.Go(func() {
			if w.Do(ctx, true, insert("late")) == nil {
				t.Error("wrote while the turn was lent")
			}
		})
		all.Wait()
		check("after refusals", 0)
		l.Leave()
	})
}

// Whoever gives way lets a goroutine run that is ready.
func TestGiveWay(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	w := open(t)
	must(t, w.wait(t.Context(), nil))
	c := new(claim)
	w.turn.ask(c)
	w.turn.release() // wakes the claimant, which does not run
	var ran atomic.Bool
	go ran.Store(true)
	w.turn.still.Add(-2 * int64(standstill))
	for range 100 { // now and then the scheduler looks first for who has given way
		w.turn.giveWay()
	}
	if !ran.Load() {
		t.Error("a goroutine that gives way to others goes on running")
	}
	if !w.turn.withdraw(c) {
		t.Error("not withdrawn")
	}
}
