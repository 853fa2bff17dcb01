package remote

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// timed is a history whose transactions have times of their own.
type timed struct {
	*world
	m *Manifest
}

func newTimed(t *testing.T) *timed {
	w := newWorld(t)
	return &timed{world: w, m: w.manifest("", Span{"n", 1, 1, 0})}
}

// happening is a transaction: an insert, unless it is a barrier for so many changes.
type happening struct {
	time    int64
	barrier int64
}

func at(times ...int64) (out []happening) {
	for _, t := range times {
		out = append(out, happening{time: t})
	}
	return out
}

// batch stores transactions behind end, and returns where they end.
func (h *timed) batch(end Position, events ...happening) Position {
	h.t.Helper()
	name := Batch{NodeID: "n", From: end.Sequence + 1, To: end.Sequence, Epoch: 1}
	for _, e := range events {
		name.To += max(e.barrier, 1)
	}
	var sealed bytes.Buffer
	s, err := h.b.SealBatch(&sealed, testID, BatchKey("app", name))
	if err != nil {
		h.t.Fatal(err)
	}
	w := batch.NewWriter(s, batch.Header{NodeID: "n", Epoch: 1, From: name.From, Prev: end.Chain})
	next := name.From
	for _, e := range events {
		entry := change.Entry{Op: change.Insert, Table: "t", After: []change.Column{{Name: "v"}}}
		if e.barrier > 0 {
			entry = change.Entry{Op: change.Barrier, Reason: "outgrown"}
		}
		if e.barrier > 1 {
			entry.Count = e.barrier
		}
		if err := errors.Join(w.Begin(next, e.time), w.Add(&entry), w.End()); err != nil {
			h.t.Fatal(err)
		}
		next += entry.Width()
	}
	tr, err := w.Close()
	if err = errors.Join(err, s.Close(), h.b.PutBatch(h.t.Context(), testID, name, sealed.Bytes())); err != nil {
		h.t.Fatal(err)
	}
	return Position{tr.To, tr.Head}
}

// confirm stores transactions, and lets the manifest name them.
func (h *timed) confirm(events ...happening) {
	h.t.Helper()
	end := h.batch(Position{h.m.LatestSequence, h.m.ChainHead}, events...)
	h.m.LatestSequence, h.m.ChainHead = end.Sequence, end.Chain
}

// snapshot lets the manifest name a snapshot of all that is confirmed, taken at a time;
// changed is that of the last change.
func (h *timed) snapshot(taken, changed int64) {
	h.m.AddSnapshot(Snapshot{Sequence: h.m.LatestSequence, Chain: h.m.ChainHead, Time: taken, Changed: changed, Earliest: h.m.Earliest})
	h.m.Earliest = 0
}

// finds wants, for times, the sequences that they mean; 0 is none.
func (h *timed) finds(what string, want map[int64]int64) {
	h.t.Helper()
	for time, sequence := range want {
		got, _, err := h.b.Locate(h.t.Context(), h.m, time)
		if got != sequence || (sequence == 0) != errors.Is(err, ErrTooOld) || sequence != 0 && err != nil {
			h.t.Errorf("%s: at %d: %d, %v, want %d", what, time, got, err, sequence)
		}
	}
}

// findsBack wants of LastAt what finds wants of Locate.
func (h *timed) findsBack(what string, want map[int64]int64) {
	h.t.Helper()
	for time, sequence := range want {
		r := h.b.NewReading(h.t.Context(), h.m)
		got, err := r.LastAt(time, 0)
		r.Close()
		if got != sequence || err != nil {
			h.t.Errorf("%s: at %d, backward: %d, %v, want %d", what, time, got, err, sequence)
		}
	}
}

// TestLocate: a time means everything up to the last transaction that is not later,
// wherever that is, whether or not the manifest says what times there are.
func TestLocate(t *testing.T) {
	for _, told := range []bool{false, true} {
		h := newTimed(t)
		tell := func(earliest int64) {
			if told {
				h.m.Earliest = earliest
			}
		}
		h.confirm(at(10, 20, 900, 30)...) // 1-4: once the clock is far ahead
		tell(10)
		h.snapshot(35, 30)
		h.confirm(at(40, 25, 50)...) // 5-7: and once behind
		tell(25)
		h.snapshot(55, 50)
		h.snapshot(56, 50) // of nothing new
		h.confirm(at(60, 70)...)
		tell(60)
		confirmed := map[int64]int64{9: 0, 10: 1, 19: 1, 20: 2, 24: 2, 25: 6, 29: 6, 30: 6, 49: 6, 50: 7, 59: 7, 60: 8, 69: 8, 70: 9, 899: 9, 1000: 9}
		h.finds("confirmed", confirmed)
		h.findsBack("confirmed", confirmed)
		h.batch(Position{h.m.LatestSequence, h.m.ChainHead}, at(80, 65)...)
		past := map[int64]int64{10: 1, 60: 8, 64: 8, 65: 11, 1000: 11}
		h.finds("past the manifest", past)
		h.findsBack("past the manifest", past)
		h.m.Pruned = 4
		pruned := map[int64]int64{10: 0, 24: 0, 25: 6, 50: 7}
		h.finds("pruned", pruned)
		h.findsBack("pruned", pruned)
	}
}

// TestLocateLastOfSnapshot: what a snapshot ends with may be all that there is to find.
func TestLocateLastOfSnapshot(t *testing.T) {
	h := newTimed(t)
	h.confirm(at(10, 20)...)
	h.snapshot(21, 20)
	h.m.Pruned = 2
	h.confirm(at(500)...) // ahead
	h.finds("pruned", map[int64]int64{19: 0, 20: 2, 499: 2, 500: 3})
	h.findsBack("pruned", map[int64]int64{19: 0, 20: 2, 499: 2, 500: 3})
	h.m.Snapshots[0].Changed = 0 // an older program has not said
	h.finds("when the snapshot was taken", map[int64]int64{20: 0, 21: 2})
}

// TestLocateBarrier: a point behind a barrier is one, but not where nothing confirms
// it, and the time of a barrier over a range is only when that began.
func TestLocateBarrier(t *testing.T) {
	h := newTimed(t)
	h.confirm(happening{time: 10}, happening{time: 20, barrier: 5}, happening{time: 60}) // 1, 2-6, 7
	h.snapshot(65, 60)
	h.finds("a range", map[int64]int64{10: 1, 19: 1, 20: 5, 59: 5, 60: 7})
	h.confirm(happening{time: 70}, happening{time: 80, barrier: 1}, happening{time: 90}) // 8, 9, 10
	h.finds("a barrier", map[int64]int64{70: 8, 80: 9, 90: 10})
	h.batch(Position{h.m.LatestSequence, h.m.ChainHead}, happening{time: 100}, happening{time: 110, barrier: 1}, happening{time: 105})
	h.finds("not confirmed", map[int64]int64{99: 10, 100: 11, 105: 11, 1000: 11})
	h.m.LatestSequence, h.m.ChainHead = 7, h.m.Snapshots[0].Chain
	h.finds("nothing of it confirmed", map[int64]int64{70: 8, 1000: 8})

	h = newTimed(t)
	h.confirm(happening{time: 10}, happening{time: 20, barrier: 5}) // the last of them was at 60
	h.snapshot(65, 60)
	h.finds("a snapshot of a range", map[int64]int64{19: 1, 20: 5, 59: 5, 60: 6})
}

// TestLocateReads: of what the manifest tells to be later, nothing is read.
func TestLocateReads(t *testing.T) {
	h := newTimed(t)
	for i := range int64(5) {
		h.confirm(at(100*i+10, 100*i+20)...)
		h.m.Earliest = 100*i + 10
		h.snapshot(100*i+30, 100*i+20)
	}
	for time, gets := range map[int64]int{5: 0, 10: 1, 20: 0, 50: 0, 115: 1, 120: 0, 415: 1, 430: 0} {
		store := objstoretest.Count(h.store)
		if _, _, err := New(store, "app", seal.Options{}).Locate(t.Context(), h.m, time); err != nil && !errors.Is(err, ErrTooOld) {
			t.Fatal(err)
		}
		if n := store.Tally(objstoretest.Get).Calls; n != gets {
			t.Errorf("at %d: %d batches were read, want %d", time, n, gets)
		}
	}
	// Damage is an error where it may hide something, and nowhere else.
	h.damage(BatchKey("app", Batch{NodeID: "n", From: 5, To: 6, Epoch: 1}))
	for time, damaged := range map[int64]bool{15: false, 50: false, 150: false, 215: true, 250: false} {
		_, _, err := h.b.Locate(t.Context(), h.m, time)
		if errors.Is(err, ErrCorrupt) != damaged {
			t.Errorf("at %d, with a damaged batch: %v", time, err)
		}
	}
}

// TestWalkEnds: a walk to a sequence reads nothing behind that.
func TestWalkEnds(t *testing.T) {
	h := newTimed(t)
	for i := range int64(5) {
		h.confirm(at(i, i)...)
	}
	h.damage(BatchKey("app", Batch{NodeID: "n", From: 7, To: 8, Epoch: 1}))
	for target, gets := range map[int64]int{1: 1, 2: 1, 3: 2, 6: 3} {
		store := objstoretest.Count(h.store)
		var got reached
		end, err := New(store, "app", seal.Options{}).Walk(t.Context(), h.m, Position{Chain: batch.Genesis(testID)}, Target{target}, &got)
		if err != nil || end.Sequence != target {
			t.Errorf("to %d: %+v after %s, %v", target, end, strings.Join(got.records, " "), err)
		}
		if n := store.Tally(objstoretest.Get).Calls; n != gets {
			t.Errorf("to %d: %d batches were read, want %d", target, n, gets)
		}
	}
}
