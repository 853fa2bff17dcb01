package remote

import (
	"slices"
	"testing"
	"time"
)

const day = 24 * time.Hour

// keeper is a manifest whose snapshots were stored days ago. Its last collection was a
// day ago.
type keeper struct {
	t   *testing.T
	m   *Manifest
	now time.Time
}

const keeperWindow = 40 * day

func newKeeper(t *testing.T, daysAgo ...int) *keeper {
	k := &keeper{t, newWorld(t).manifest("", Span{"n", 1, 1, 0}), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	for i, ago := range daysAgo {
		k.m.Snapshots = append(k.m.Snapshots, Snapshot{Sequence: int64(i), Stored: k.in(-ago).UnixMilli()})
	}
	yesterday := k.in(-1).UnixMilli()
	k.m.Clock, k.m.PrunedAt = Clock{At: yesterday, Latest: yesterday}, yesterday
	return k
}

func (k *keeper) in(days int) time.Time { return k.now.Add(time.Duration(days) * day) }

// collect lets there be a collection while the store's clock says that it is in so many
// days, and wants the snapshots to be left that were stored so many days ago.
func (k *keeper) collect(what string, days int, left ...int) {
	k.t.Helper()
	k.m.Prune(k.in(days), keeperWindow)
	var got []int
	for _, s := range k.m.Snapshots {
		got = append(got, int(k.now.Sub(time.UnixMilli(s.Stored))/day))
	}
	if !slices.Equal(got, left) {
		k.t.Errorf("%s: left are the snapshots of %d days ago, want %d", what, got, left)
	}
}

var every5 = []int{60, 55, 50, 45, 40, 35, 30, 25, 20, 15, 10, 5, 0}

// TestPrune: a clock that is right makes room for what is new.
func TestPrune(t *testing.T) {
	k := newKeeper(t, every5...)
	k.collect("today", 0, 40, 35, 30, 25, 20, 15, 10, 5, 0)
	k.collect("tomorrow", 1, 40, 35, 30, 25, 20, 15, 10, 5, 0)
	k.collect("in 5 days", 5, 35, 30, 25, 20, 15, 10, 5, 0)
	if k.m.Pruned != 5 {
		t.Errorf("pruned up to %d", k.m.Pruned)
	}
}

// TestPruneAhead: each collection whose clock is far ahead gives up a quarter of the
// window. When the clock is right again, no more goes than has to.
func TestPruneAhead(t *testing.T) {
	for _, by := range []int{50, 20 * 365} {
		k := newKeeper(t, every5...)
		k.collect("right", 0, 40, 35, 30, 25, 20, 15, 10, 5, 0)
		k.collect("ahead", by, 30, 25, 20, 15, 10, 5, 0)
		k.m.Observe(k.now)
		if k.m.Clock.At != k.now.UnixMilli() || k.m.PrunedAt != k.now.UnixMilli() || len(k.m.Clock.Said) != 0 {
			t.Errorf("set right: %+v, pruned at %s", k.m.Clock, time.UnixMilli(k.m.PrunedAt))
		}
		k.collect("right", 1, 30, 25, 20, 15, 10, 5, 0)
		k.collect("ahead again", by, 30, 25, 20, 15, 10, 5, 0)
		k.collect("and a day later", by+1, 20, 15, 10, 5, 0)
		k.m.Observe(k.in(2))
		for days := 3; days < 25; days++ {
			k.collect("right", days, 20, 15, 10, 5, 0)
		}
		k.collect("right", 25, 15, 10, 5, 0)
	}
}

// TestPruneBehind: a clock that is behind deletes nothing, then or when it is right
// again, and what is stored meanwhile does not look old.
func TestPruneBehind(t *testing.T) {
	const past = -20 * 365
	k := newKeeper(t, 35, 30)
	k.collect("right", 0, 35, 30)
	for range 3 {
		k.m.Observe(k.in(past))
		k.m.AddSnapshot(Snapshot{Sequence: 10, Stored: k.in(past).UnixMilli()})
	}
	k.collect("behind", past+1, 35, 30, 0, 0, 0)
	k.collect("behind", past+2, 35, 30, 0, 0, 0)
	for days := range 10 {
		k.collect("right", days, 35, 30, 0, 0, 0)
	}
	for days := 10; days < 40; days++ {
		k.collect("old enough", days, 30, 0, 0, 0)
	}
	k.collect("old enough", 40, 0)
}

// TestPruneBelieves: a clock that has leapt is believed when three collections have
// found nothing against it, so a program that was off for years is not behind for years.
func TestPruneBelieves(t *testing.T) {
	k := newKeeper(t, 1200, 1100, 1000, 990)
	k.m.Clock = Clock{At: k.in(-1001).UnixMilli(), Latest: k.in(-1001).UnixMilli()}
	k.collect("years ago", -1000, 1100, 1000, 990)
	for days := range 3 {
		k.collect("not yet", days, 1100, 1000, 990)
	}
	k.collect("the fourth", 3, 990)
	// One that is seen to go back is not.
	k = newKeeper(t, every5...)
	for days := range 3 {
		k.collect("right", days, 40, 35, 30, 25, 20, 15, 10, 5, 0)
	}
	k.collect("ahead", 100, 30, 25, 20, 15, 10, 5, 0)
	k.m.Observe(k.in(3))
	if len(k.m.Clock.Said) != 0 || !k.m.Clock.Back {
		t.Errorf("it is still believed: %+v", k.m.Clock)
	}
}

// TestObserveNew: a new manifest begins with now; one of an older program with its
// oldest snapshot, so that a leap before its first collection is none.
func TestObserveNew(t *testing.T) {
	k := newKeeper(t)
	k.m.Clock, k.m.PrunedAt = Clock{}, 0
	k.m.Observe(k.now)
	if k.m.PrunedAt != k.now.UnixMilli() || k.m.Clock.At != k.now.UnixMilli() {
		t.Errorf("a new one: %+v", k.m)
	}
	k = newKeeper(t, 30, 20, 10)
	k.m.Clock = Clock{}
	for i := range k.m.Snapshots {
		k.m.Snapshots[i].Time = k.m.Snapshots[i].Stored
	}
	k.collect("an older program's", 40, 30, 20, 10)
	// Servers of one store differ by a second.
	k = newKeeper(t)
	k.collect("right", 0)
	k.m.Observe(k.now.Add(-time.Second))
	if len(k.m.Clock.Said) != 1 || k.m.Clock.Back {
		t.Errorf("a second less: %+v", k.m.Clock)
	}
}
