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
		_, err := w.trial(s, o, at, cut(s, o))
		w.ahead.forget(o)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, errApart):
			apart = true
		default:
			refused = err // what it continues is unknown
		}
	}
	if apart && at.Sequence >= m.LatestSequence && errors.Is(refused, errOther) {
		refused = nil // ignore it: no manifest has promised that batch
	}
	return false, refused
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
