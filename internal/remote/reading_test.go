package remote

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestStart: where a walk to a change begins.
func TestStart(t *testing.T) {
	chain := func(n int64) batch.Chain { return batch.Genesis(string(rune('a' + n))) }
	m := &Manifest{DatabaseID: "db", LatestSequence: 20, ChainHead: chain(20), Lineage: []Span{{From: 1}}}
	for _, sequence := range []int64{4, 8} {
		m.Snapshots = append(m.Snapshots, Snapshot{Sequence: sequence, Chain: chain(sequence)})
	}
	genesis := Position{Chain: batch.Genesis("db")}
	four, eight := Position{Sequence: 4, Chain: chain(4)}, Position{Sequence: 8, Chain: chain(8)}
	for from, want := range map[int64]Position{1: genesis, 4: genesis, 5: four, 8: four, 9: eight, 20: eight, 21: m.Head()} {
		if got := m.before(from); got != want {
			t.Errorf("from %d it starts at %d", from, got.Sequence)
		}
	}
	m.Pruned = 4
	if got := m.First(); got != four {
		t.Errorf("of what is kept it starts at %d", got.Sequence)
	}
	m.Lineage[0].From, m.Pruned = 9, 0 // a history that another file's has been put in front of
	if got := m.First(); got != eight {
		t.Errorf("of what the log has it starts at %d", got.Sequence)
	}
}

// partial is a sink that collects a part of a history, batch by batch.
type partial struct {
	from, to  int64
	batch     []byte
	batches   []string
	committed []int64
}

func (p *partial) Begin() error    { p.batch = p.batch[:0]; return nil }
func (p *partial) Rollback() error { return nil }

func (p *partial) Apply(r *batch.Record) error {
	if r.Sequence >= p.from && (p.to == 0 || r.Sequence <= p.to) {
		p.batch = append(p.batch, r.Entry.After[0].Value.Bytes...)
	}
	return nil
}

func (p *partial) Commit(at Position, _ digest.Report) error {
	p.batches, p.committed = append(p.batches, string(p.batch)), append(p.committed, at.Sequence)
	return nil
}

// readParts reads parts of a history in either order: every one, unless step is larger.
func (w *world) readParts(m *Manifest, want string, step int64) {
	w.t.Helper()
	last := int64(len(want))
	for from := int64(0); from <= last+1; from += step {
		for to := from; to <= last+1; to += step {
			if from == 0 && to != 0 { // only from the first to the end
				continue
			}
			part := want[max(from, 1)-1:]
			if to != 0 && to < last {
				part = want[from-1 : to]
			}
			r := w.b.NewReading(w.t.Context(), m)
			forward := partial{from: from, to: to}
			_, err := r.Forward(from, to, &forward)
			if got := strings.Join(forward.batches, ""); err != nil || got != part {
				w.t.Errorf("from %d to %d: %q, %v, want %q", from, to, got, err, part)
			}
			r.Close()
			r = w.b.NewReading(w.t.Context(), m)
			back := partial{from: from, to: to}
			_, err = r.Backward(from, to, &back)
			slices.Reverse(back.batches)
			if got := strings.Join(back.batches, ""); err != nil || got != part {
				w.t.Errorf("from %d to %d, backward: %q, %v, want %q", from, to, got, err, part)
			}
			r.Close()
		}
	}
}

// many stores a history of single changes, a batch each, with a snapshot after each
// hundred of the first half.
func many(t *testing.T, n int64) *timed {
	t.Helper()
	h := newTimed(t)
	for i := range n {
		h.confirm(at(1000 + i)...)
		if i < n/2 && i%100 == 99 {
			h.snapshot(1000+i, 1000+i)
		}
	}
	return h
}

// TestReadingRequests: of a long history, only what can hold the wanted part is listed and
// fetched.
func TestReadingRequests(t *testing.T) {
	const last = 1500
	h := many(t, last)
	for _, c := range []struct {
		from, to int64
		back     bool
		gets     int
	}{
		{from: last, gets: 1},
		{from: 1301, gets: 200},
		{from: last + 1, gets: 0},
		{from: 1301, to: 1310, gets: 10},
		{from: 1, to: 1, gets: 1},
		{from: 151, to: 160, gets: 10},
		{from: 1491, back: true, gets: 10},
		{from: 1301, to: 1310, back: true, gets: 10},
		{from: 1, to: 3, back: true, gets: 3},
		{from: last + 1, back: true, gets: 0},
	} {
		store := objstoretest.Count(h.store)
		r := New(store, "app", seal.Options{}).NewReading(t.Context(), h.m)
		var p partial
		read := r.Forward
		if c.back {
			read = r.Backward
		}
		_, err := read(c.from, c.to, &p)
		r.Close()
		lists, gets := store.Tally(objstoretest.List).Calls, store.Tally(objstoretest.Get).Calls
		if err != nil || lists > 1 || gets != c.gets || len(p.committed) != c.gets {
			t.Errorf("%+v: %d lists, %d gets, ends at %d, %v", c, lists, gets, p.committed, err)
		}
	}
	// What a time means is read backward, and not read again.
	store := objstoretest.Count(h.store)
	r := New(store, "app", seal.Options{}).NewReading(t.Context(), h.m)
	defer r.Close()
	since, err := r.LastAt(1000+last-11, 0)
	if err != nil || since != last-10 {
		t.Fatalf("the last before it is %d, %v", since, err)
	}
	if _, err := r.Forward(since+1, 0, &partial{}); err != nil {
		t.Fatal(err)
	}
	if gets := store.Tally(objstoretest.Get).Calls; gets > 10+mostAhead {
		t.Errorf("%d gets for the last ten changes", gets)
	}
}

// TestReadingPoll: whoever has read to the end asks with one listing whether there is more.
func TestReadingPoll(t *testing.T) {
	h := many(t, 1200)
	store := objstoretest.Count(h.store)
	b := New(store, "app", seal.Options{})
	poll := func(at Position) (Position, string) {
		t.Helper()
		store.Reset()
		r := b.NewReading(t.Context(), h.m)
		defer r.Close()
		var got partial
		end, err := r.Continue(at, &got)
		if err != nil {
			t.Fatal(err)
		}
		return end.Position, fmt.Sprintf("%d lists, %d gets, to %d", store.Tally(objstoretest.List).Calls, store.Tally(objstoretest.Get).Calls, end.Sequence)
	}
	end, got := poll(h.m.Head())
	if got != "1 lists, 0 gets, to 1200" {
		t.Errorf("nothing new: %s", got)
	}
	h.batch(end, at(4000, 4001)...)
	if end, got = poll(end); got != "1 lists, 1 gets, to 1202" {
		t.Errorf("one batch: %s", got)
	}
	// Others have been merged since, and the parts are gone.
	h.m.LatestSequence, h.m.ChainHead = end.Sequence, end.Chain
	reader := end
	merged := h.batch(end, at(5000, 5001, 5002)...)
	h.m.LatestSequence, h.m.ChainHead = merged.Sequence, merged.Chain
	if end, _ = poll(reader); end != merged {
		t.Errorf("it ends at %d, not %d", end.Sequence, merged.Sequence)
	}
	middle := h.position(reader, at(5000)...)
	if end, got = poll(middle); end != merged {
		t.Errorf("from the middle of a batch: %s", got)
	}
}

// position is where transactions after end end.
func (h *timed) position(end Position, events ...happening) Position {
	h.t.Helper()
	other := newTimed(h.t)
	return other.batch(end, events...)
}

// TestReadingElsewhere: the batch that seems to hold the first change may be another
// history's.
func TestReadingElsewhere(t *testing.T) {
	w := newWorld(t)
	right := strings.Repeat("a", 30)
	w.put("n", 1, right, 1)
	for _, stray := range []int64{5, 20} { // as a clone would have stored it
		w.put("n", 1, strings.Repeat("x", int(stray)+3), stray)
	}
	w.readParts(w.manifest(right, Span{"n", 1, 1, 0}), right, 4)

	// Nothing else holds change 29: it is told that nothing leads to the head.
	w = newWorld(t)
	w.put("n", 1, right[:28], 1)
	w.put("n", 1, strings.Repeat("x", 30), 29)
	r := w.b.NewReading(t.Context(), w.manifest(right, Span{"n", 1, 1, 0}))
	defer r.Close()
	got := partial{from: 29}
	if _, err := r.Forward(29, 0, &got); !errors.Is(err, ErrCorrupt) || strings.Join(got.batches, "") != "" {
		t.Errorf("%q, %v", got.batches, err)
	}
}

// TestReadingPart: a batch may hold more than what is asked for, or than what is kept. The sink
// gets none of the rest, in either order, with and without a first and a last change.
func TestReadingPart(t *testing.T) {
	w := newWorld(t)
	const h = "abcdefghij"
	w.put("n", 1, h, 1)
	m := w.manifest(h, Span{"n", 1, 1, 0})
	m.AddSnapshot(Snapshot{Sequence: 4, Chain: w.chain(h[:4])})
	m.Pruned = 4
	for _, c := range []struct {
		from, to int64
		want     string
	}{{0, 0, "efghij"}, {0, 7, "efg"}, {6, 0, "fghij"}, {6, 8, "fgh"}} {
		r := w.b.NewReading(t.Context(), m)
		for _, read := range []func(int64, int64, Sink) (End, error){r.Forward, r.Backward} {
			var got partial
			if _, err := read(c.from, c.to, &got); err != nil || strings.Join(got.batches, "") != c.want {
				t.Errorf("from %d to %d: %q, %v, want %q", c.from, c.to, got.batches, err, c.want)
			}
		}
		r.Close()
	}
	// What follows a part is all of it.
	r := w.b.NewReading(t.Context(), m)
	defer r.Close()
	if _, err := r.Forward(5, 5, new(partial)); err != nil {
		t.Fatal(err)
	}
	var rest partial
	if _, err := r.Continue(Position{4, w.chain(h[:4])}, &rest); err != nil || strings.Join(rest.batches, "") != "efghij" {
		t.Errorf("what follows: %q, %v", rest.batches, err)
	}
}

// TestReadingBarrier: a barrier that begins before the part and reaches into it is of it.
func TestReadingBarrier(t *testing.T) {
	h := newTimed(t)
	h.confirm(happening{time: 10}, happening{time: 20, barrier: 5}, happening{time: 30}) // 1, 2-6, 7
	for _, back := range []bool{false, true} {
		r := h.b.NewReading(t.Context(), h.m)
		read := r.Forward
		if back {
			read = r.Backward
		}
		var got ranges
		if _, err := read(4, 6, &got); err != nil || fmt.Sprint(got) != "[2-6]" {
			t.Errorf("backward %v: %v, %v", back, got, err)
		}
		r.Close()
	}
}

// ranges is a sink that collects which sequences each record takes.
type ranges []string

func (*ranges) Begin() error                         { return nil }
func (*ranges) Rollback() error                      { return nil }
func (*ranges) Commit(Position, digest.Report) error { return nil }
func (r *ranges) Apply(rec *batch.Record) error {
	*r = append(*r, fmt.Sprintf("%d-%d", rec.Sequence, rec.End()))
	return nil
}
