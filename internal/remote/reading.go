package remote

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/driftdb/driftdb-go/internal/batch"
)

// Reading reads parts of a history and fetches only the objects that can hold them. What
// one call has listed, the next does not list again.
//
// What is proven when: each batch is verified as a whole, and continues the one that was
// passed to the sink before it. If it is encrypted, the keys prove that a writer of this
// database stored it under this name. The manifest proves the rest: forward, once the
// walk passes the manifest's head, with ErrCorrupt if the batches do not lead there;
// backward from the end, each batch before the sink gets it. A part that ends before the
// head, at neither a snapshot's place nor the end, is not compared with the manifest: that
// would take every batch in between.
type Reading struct{ w *walk }

// NewReading begins to read the history that m describes. The caller must close it.
func (b *Bucket) NewReading(ctx context.Context, m *Manifest) *Reading {
	w := newWalk(ctx, b, m, Position{})
	w.narrow = new(narrow)
	return &Reading{w}
}

// Close stops what is being fetched.
func (r *Reading) Close() { r.w.ahead.close() }

// narrow limits what a walk lists and fetches.
type narrow struct {
	margin int64 // list batches that begin so much before the walk's position
	to     int64 // batches that begin after this change are not needed; 0: they are
	whole  bool  // list them nevertheless
	keep   bool  // keep what has been fetched: another pass follows

	first, last int64 // the part that the sink gets: see has, and batch.Reader.Only
}

// near is the first margin in which to look for the batch that holds a change. A batch has
// at least one change, so the listing shows no more than that many before it.
const near = 100

// wider is the margin to try when margin does not suffice.
func wider(margin int64) int64 { return min(16*margin, maxSequence) }

// reached reports whether nothing after sequence is needed.
func (n *narrow) reached(sequence int64) bool {
	return n != nil && n.to != 0 && sequence >= n.to
}

// has reports whether a record is of the part: it takes change first or a later one, in a
// transaction that begins at last or before. last 0 is no limit.
func (n *narrow) has(r *batch.Record) bool {
	return n == nil || r.End() >= n.first && (n.last == 0 || r.Tx <= n.last)
}

// widen lists all batches from those of span s on. Which of two batches leads to the
// manifest's head takes all that lie in between.
func (w *walk) widen(s Span) error {
	if w.narrow == nil || w.narrow.whole {
		return nil
	}
	w.narrow.whole = true
	w.relist()
	return w.listFrom(w.place(s), s.From, 0)
}

// First returns the first position at which a walk through m's history can begin.
func (m *Manifest) First() Position {
	at := m.Genesis()
	for _, s := range m.Snapshots {
		if at.Sequence >= m.Begins() {
			break
		}
		at = Position{s.Sequence, s.Chain}
	}
	return at
}

// before returns the last position before change sequence that the manifest proves, or the
// first position if there is none.
func (m *Manifest) before(sequence int64) Position {
	at := m.First()
	for _, s := range m.Snapshots {
		if s.Sequence < sequence && s.Sequence > at.Sequence {
			at = Position{s.Sequence, s.Chain}
		}
	}
	if m.LatestSequence < sequence && m.LatestSequence > at.Sequence {
		at = m.Head()
	}
	return at
}

// Forward passes the batches that hold the changes from and later to sink, oldest first.
// Those that begin after change to are not fetched. From 0 is the first that is kept, to 0
// the end. Of each batch the sink gets the changes from and later, in transactions that begin
// at to or before.
func (r *Reading) Forward(from, to int64, sink Sink) (End, error) {
	w := r.w
	w.narrow.first, w.narrow.last = from, to
	proven := w.m.First()
	if from > 0 {
		if from <= w.m.Begins() {
			return End{}, w.m.tooOld()
		}
		proven = w.m.before(from)
	}
	w.narrow.margin, w.narrow.to = near, to
	start, err := r.start(from, proven)
	if err != nil {
		return End{}, err
	}
	end, err := r.walk(start, sink)
	if errors.Is(err, ErrCorrupt) && end.Position == start && start != proven {
		// The batch that was taken for the one that holds from is not of this history.
		w.refused, w.refusals = map[Batch]bool{}, nil
		return r.walk(proven, sink)
	}
	return end, err
}

// Continue passes what follows at, where an earlier reading of this history has ended, to
// sink.
func (r *Reading) Continue(at Position, sink Sink) (End, error) {
	n := r.w.narrow
	n.margin, n.to = 0, 0 // a batch begins right there, unless others have been merged since
	n.first, n.last = 0, 0
	return r.walk(at, sink)
}

func (r *Reading) walk(start Position, sink Sink) (End, error) {
	w := r.w
	w.pos, w.sink, w.done = start, sink, w.narrow.reached(start.Sequence)
	err := w.complete(w.run)
	return End{w.pos, true, w.refusals}, err
}

// start returns the position at which to begin in order to read change from: that before
// the batch that holds it, unless proven is as near.
func (r *Reading) start(from int64, proven Position) (Position, error) {
	w := r.w
	if from <= proven.Sequence+1 || from > w.m.LatestSequence {
		return proven, nil
	}
	w.pos.Sequence = from - 1
	p, found, err := w.holder(from)
	if err != nil || !found || p.start.Sequence <= proven.Sequence {
		return proven, err
	}
	return p.start, nil
}

// passage is a batch with the positions at its ends, which nothing else proves.
type passage struct {
	Batch
	start, end Position
}

// holder finds the batch that holds change n. If there is none, the walk that needs it
// reports that.
func (w *walk) holder(n int64) (p passage, found bool, err error) {
	i := w.m.spanAt(n)
	s := w.m.Lineage[i]
	for margin := int64(near); ; margin = wider(margin) {
		if err := w.list(s); err != nil {
			return p, false, err
		}
		able, err := w.passages(s, n)
		switch {
		case err != nil:
			return p, false, err
		case len(able) > 0:
			p, err = w.right(i, able)
			return p, err == nil, err
		case !w.more(s):
			return p, false, nil
		}
		w.narrow.margin = wider(margin)
	}
}

// spanAt is the index of the span that holds change n.
func (m *Manifest) spanAt(n int64) int {
	return slices.IndexFunc(m.Lineage, func(s Span) bool { return s.To == 0 || n <= s.To })
}

// passages returns the batches of the span that hold change n, widest first.
func (w *walk) passages(s Span, n int64) (able []passage, err error) {
	for _, o := range w.candidates(w.batches(s), n-1) {
		start, _, err := w.begins(o)
		if err == nil {
			var end Position
			if end, err = w.trial(s, o, start, cut(s, o)); err == nil {
				able = append(able, passage{o, start, end})
				continue
			}
		}
		switch {
		case errors.Is(err, errOther):
			w.refuse(o, err)
		case errors.Is(err, errUnread) && errors.Is(err, ErrCorrupt): // it is missing; the walk will find out
		default:
			return nil, err
		}
	}
	return able, nil
}

// begins returns the position at which batch o says that it begins, and its object.
func (w *walk) begins(o Batch) (at Position, data []byte, err error) {
	if data, err = w.ahead.get(o); err != nil {
		return at, nil, err
	}
	r, err := w.open(o, data)
	if err != nil {
		return at, nil, err
	}
	return Position{o.From - 1, r.Header().Prev}, data, nil
}

// right returns the passage of span i that belongs to the history. Normally all others are
// part of the widest, and the one that begins last will do. Otherwise the writer's machine
// was cloned while it ran, see preferred.
func (w *walk) right(i int, able []passage) (passage, error) {
	widest, s := able[0], w.m.Lineage[i]
	agree := !slices.ContainsFunc(able[1:], func(p passage) bool {
		part, err := w.trial(s, widest.Batch, widest.start, p.end.Sequence)
		return err != nil || part != p.end
	})
	if agree {
		return slices.MaxFunc(able, func(x, y passage) int { return cmp.Compare(x.From, y.From) }), nil
	}
	if err := w.widen(s); err != nil {
		return widest, err
	}
	for _, p := range able {
		if w.leads(i, p.Batch, p.start) {
			return p, nil
		}
	}
	return widest, nil
}
