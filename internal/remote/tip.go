package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
)

// Tips are the ends of a history. Far is where its writer's objects stop continuing the
// chain; Refused lists those that do not continue it. Near is how far the history can be
// restored: it ends before a barrier whose snapshot was never stored. A writer that has
// the log up to Far may continue there and take the snapshot. For everyone else, what
// lies between Near and Far has not happened.
type Tips struct {
	Far, Near Position
	Refused   []Refusal
}

// Tips finds the ends of the history that m describes.
func (b *Bucket) Tips(ctx context.Context, m *Manifest) (Tips, error) {
	start := m.Head()
	var look barrierSink
	far, err := b.Walk(ctx, m, start, Target{}, &look)
	tips := Tips{far.Position, far.Position, far.Refused}
	switch {
	case err != nil || look.tx == 0:
		return tips, err
	case look.tx == start.Sequence+1:
		tips.Near = start
		return tips, nil
	}
	near, err := b.Walk(ctx, m, start, Target{Sequence: look.tx - 1}, nil)
	tips.Near = near.Position
	return tips, err
}

// Head is the position up to which m confirms the history.
func (m *Manifest) Head() Position { return Position{Sequence: m.LatestSequence, Chain: m.ChainHead} }

func (m *Manifest) tooOld() error {
	return fmt.Errorf("%w: its log begins after change %d", ErrTooOld, m.Begins())
}

// Begins is the sequence after which the log of m's history begins. Earlier changes are
// only in a snapshot.
func (m *Manifest) Begins() int64 { return max(m.Pruned, m.Lineage[0].From-1) }

// Continues reports whether the history that m describes continues from at: whether a
// batch that counts holds the change after at and continues the chain there.
func (b *Bucket) Continues(ctx context.Context, m *Manifest, at Position) (bool, error) {
	if at.Sequence < m.Begins() {
		return false, m.tooOld()
	}
	if at.Sequence == m.LatestSequence && at.Chain != m.ChainHead {
		return false, nil
	}
	i := slices.IndexFunc(m.Lineage, func(s Span) bool { return s.To == 0 || s.To > at.Sequence })
	w := newWalk(ctx, b, m, at)
	defer w.ahead.close()
	s := m.Lineage[i] // there is one: the last span has no end
	if err := w.list(s); err != nil {
		return false, err
	}
	var apart bool
	var refused error
	for _, o := range w.candidates(w.batches(s), at.Sequence) {
		err := w.continues(s, o, at)
		for again := 0; errors.Is(err, errOther) && !errors.Is(err, errApart) && again < 2; again++ { // it may have been corrupted in transit
			err = w.continues(s, o, at)
		}
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, errApart):
			apart = true
		case errors.Is(err, errOther): // what it continues is unknown
			refused = Refusal{w.b.key(o), err}.Err()
		default:
			refused = err
		}
	}
	if apart && at.Sequence >= m.LatestSequence && errors.Is(refused, errOther) {
		refused = nil // ignore it: no manifest has promised that batch
	}
	return false, refused
}

// continues returns errApart if batch o does not continue the chain at a position. Of a
// damaged batch nobody knows that.
func (w *walk) continues(s Span, o Batch, at Position) error {
	defer w.ahead.forget(o)
	data, err := w.ahead.get(o)
	if err != nil {
		return err
	}
	dry := *w
	dry.pos = at
	err = dry.dry(s, o, data, cut(s, o))
	if errors.Is(err, errApart) {
		if damage := w.read(o, data, func(*batch.Record) bool { return true }); damage != nil {
			return damage
		}
	}
	return err
}

// Trail remembers where the batches of one session end, as far as they have been read.
// When the session's manifest advances, they need not be read again. The zero Trail
// remembers nothing.
type Trail struct {
	node  string
	epoch int64
	ends  []Position
}

// Add records that the history that m describes has reached at.
func (t *Trail) Add(m *Manifest, at Position) {
	if t.node != m.NodeID || t.epoch != m.Epoch {
		*t = Trail{node: m.NodeID, epoch: m.Epoch}
	}
	t.ends = append(t.ends, at)
}

// Leads reports whether the history that m describes leads to or through at: the trail
// came to at under an earlier manifest of the same session, and m's head is on the trail
// or beyond at. In the latter case a walk from at proves it.
func (t *Trail) Leads(m *Manifest, at Position) bool {
	same := t.node == m.NodeID && t.epoch == m.Epoch && slices.Contains(t.ends, at)
	return same && (m.LatestSequence > at.Sequence || slices.Contains(t.ends, m.Head()))
}

// barrierSink remembers the first transaction that contains a barrier.
type barrierSink struct {
	tx, pending int64
}

func (s *barrierSink) Begin() error    { s.pending = 0; return nil }
func (s *barrierSink) Rollback() error { return nil }

func (s *barrierSink) Apply(r *batch.Record) error {
	if r.Entry.Op == change.Barrier && s.pending == 0 {
		s.pending = r.Tx
	}
	return nil
}

func (s *barrierSink) Commit(Position, digest.Report) error {
	if s.tx == 0 {
		s.tx = s.pending
	}
	return nil
}
