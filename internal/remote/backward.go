package remote

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/digest"
)

// Backward passes the batches that hold the changes up to to, down to change from, to
// sink, newest first. Of each batch the sink gets as much as by Forward, in its order. From 0
// is the first that is kept, to 0 the end.
//
// It goes from batch to batch by the chain: a batch whose chain after a transaction is the
// right one holds the history up to there, and says what the chain before it is.
func (r *Reading) Backward(from, to int64, sink Sink) (End, error) {
	w, first := r.w, r.w.m.First().Sequence+1
	if from == 0 {
		from = first
	} else if from <= w.m.Begins() {
		return End{}, w.m.tooOld()
	}
	if err := r.end(to); err != nil {
		return End{Refused: w.refusals}, err
	}
	w.sink = sink
	w.narrow.first, w.narrow.last = from, to
	err := w.complete(func() error {
		for steps := 1; w.pos.Sequence >= from; steps++ {
			if err := w.back(from, steps); err != nil {
				return err
			}
		}
		return nil
	})
	return End{w.pos, true, w.refusals}, err
}

// end moves to where reading backward from change to begins: the end of the history, a
// snapshot, or else the end of the batch that holds it.
func (r *Reading) end(to int64) error {
	w := r.w
	w.narrow.margin, w.narrow.to = near, 0
	if to == 0 || to > w.m.LatestSequence {
		defer func(keep bool) { w.narrow.keep = keep }(w.narrow.keep)
		w.narrow.keep = true
		_, err := r.walk(w.m.Head(), nil)
		return err
	}
	known := w.m.Head()
	for _, s := range slices.Backward(w.m.Snapshots) {
		if s.Sequence >= to && s.Sequence < known.Sequence {
			known = Position{s.Sequence, s.Chain}
		}
	}
	if w.pos = known; known.Sequence == to {
		return nil
	}
	w.narrow.to = to
	w.pos.Sequence = to - 1 // where holder looks
	p, found, err := w.holder(to)
	if w.pos = known; found && p.end.Sequence < known.Sequence {
		w.pos = p.end
	}
	return err
}

// back passes the batch that ends at the walk's position to the sink, and moves to where
// that batch begins. The more steps the walk has made, the more it fetches ahead.
func (w *walk) back(from int64, steps int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	i := w.m.spanAt(w.pos.Sequence)
	s := w.m.Lineage[i]
	var unread error
	for margin := int64(near); ; margin = wider(margin) {
		low := max(s.From, w.pos.Sequence-margin)
		if have := w.listed[w.place(s)]; have != nil && margin == near {
			low = have.low // it may do
		}
		if err := w.listFrom(w.place(s), low, w.pos.Sequence+1); err != nil {
			return err
		}
		w.ahead.want(w.predictBack(i, from, min(steps, mostAhead))...)
		for _, o := range w.holding(w.batches(s), w.pos.Sequence) {
			err := w.takeBack(s, o)
			switch {
			case errors.Is(err, errOther):
				w.refuse(o, err)
			case errors.Is(err, errUnread):
				unread = cmp.Or(unread, err)
			default:
				return err
			}
		}
		if !w.more(s) {
			return cmp.Or(unread, w.broken(fmt.Sprintf("no batch of node %s, epoch %d leads to sequence %d", s.NodeID, s.Epoch, w.pos.Sequence)))
		}
	}
}

// holding returns the batches that hold change sequence and have not been refused, those
// that reach back furthest first.
func (w *walk) holding(batches []Batch, sequence int64) []Batch {
	out := w.candidates(batches, sequence-1)
	slices.SortFunc(out, func(x, y Batch) int { return cmp.Compare(x.From, y.From) })
	return out
}

// predictBack returns the batches that a walk backward, now in span i, will most likely
// read next, as far as they are listed.
func (w *walk) predictBack(i int, from int64, most int) (out []Batch) {
	sequence, bytes := w.pos.Sequence, int64(0)
	for ; i >= 0; i-- {
		s := w.m.Lineage[i]
		for sequence >= max(s.From, from) {
			next := w.holding(w.batches(s), sequence)
			if len(next) == 0 || len(out) == most || enough(len(out), bytes, next[0]) {
				return out
			}
			bytes += next[0].Size
			out, sequence = append(out, next[0]), next[0].From-1
		}
	}
	return out
}

// takeBack applies the part of batch o up to the walk's position, if it is the history up
// to there.
func (w *walk) takeBack(s Span, o Batch) error {
	end := w.pos
	start, data, err := w.begins(o)
	if err != nil {
		return err
	}
	if err := w.sink.Begin(); err != nil {
		return err
	}
	w.pos = start
	got, _, err := w.apply(s, o, data, end.Sequence)
	if err == nil && got != end {
		err = fmt.Errorf("%w: %s %w at sequence %d", errOther, w.b.key(o), errApart, end.Sequence)
	}
	if err == nil {
		err = w.sink.Commit(end, nil)
	}
	if err != nil {
		w.pos = end
		return errors.Join(err, w.sink.Rollback())
	}
	if !w.narrow.keep {
		w.ahead.forget(o)
	}
	return nil
}

// LastAt returns the sequence with which the last transaction ends whose own time is not
// later than at (Unix ms), or 0 if there is none among those that are kept. Only changes
// up to to count, unless to is 0. Like Locate it searches from the end, but batch by
// batch, and it keeps what it has fetched: the caller is about to read what follows.
func (r *Reading) LastAt(at, to int64) (int64, error) {
	m := r.w.m
	defer func(keep bool) { r.w.narrow.keep = keep }(r.w.narrow.keep)
	r.w.narrow.keep = true
	if to == 0 || to > m.LatestSequence {
		if found, err := r.lastAt(m.LatestSequence+1, to, at); found > 0 || err != nil {
			return found, err
		}
		to = m.LatestSequence
	}
	earliest, first := m.Earliest, m.First().Sequence
	for _, s := range slices.Backward(m.Snapshots) {
		if s.Sequence < first {
			break
		}
		if found, err := r.between(s.Sequence, to, earliest, at); found > 0 || err != nil {
			return found, err
		}
		if s.Sequence > 0 && s.Sequence <= to && s.LastTime() <= at {
			return s.Sequence, nil
		}
		to, earliest = min(to, s.Sequence), s.Earliest
	}
	return r.between(first, to, earliest, at)
}

// between is LastAt for the transactions after one sequence, up to another. None of them
// is earlier than earliest, if that is known.
func (r *Reading) between(after, to, earliest, at int64) (int64, error) {
	if to <= after || earliest > at {
		return 0, nil
	}
	return r.lastAt(after+1, to, at)
}

func (r *Reading) lastAt(from, to, at int64) (int64, error) {
	f := &backFinder{at: at}
	_, err := r.Backward(from, to, f)
	if errors.Is(err, errFound) {
		err = nil
	}
	return f.found, err
}

var errFound = errors.New("found")

// backFinder is the sink of a walk backward. It ends the walk at the last transaction that
// is not later than at.
type backFinder struct {
	at, pending, found int64
}

func (f *backFinder) Begin() error    { f.pending = 0; return nil }
func (f *backFinder) Rollback() error { return nil }

func (f *backFinder) Apply(r *batch.Record) error {
	if r.Last && r.Time <= f.at {
		f.pending = r.End()
	}
	return nil
}

func (f *backFinder) Commit(Position, digest.Report) error {
	if f.found = f.pending; f.found > 0 {
		return errFound
	}
	return nil
}
