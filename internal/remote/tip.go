package remote

import (
	"context"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/segment"
)

// Tips finds where the history ends that m describes. far is where its writer's
// objects stop to continue the chain. near is what can be restored of that: it
// ends before a barrier whose snapshot never came. A writer who has the log up
// to far may go on there and take the snapshot; for anybody else, what lies
// behind near has not happened.
func (b *Bucket) Tips(ctx context.Context, m *Manifest) (far, near Position, err error) {
	start := Position{Sequence: m.LatestSequence, Chain: m.ChainHead}
	var look barrierSink
	if far, err = b.Walk(ctx, m, start, Target{}, &look); err != nil || look.tx == 0 {
		return far, far, err
	}
	if look.tx == start.Sequence+1 {
		return far, start, nil
	}
	near, err = b.Walk(ctx, m, start, Target{Sequence: look.tx - 1}, nil)
	return far, near, err
}

// barrierSink remembers the first transaction that has a barrier.
type barrierSink struct {
	tx, pending int64
}

func (s *barrierSink) Begin() error    { s.pending = 0; return nil }
func (s *barrierSink) Rollback() error { return nil }

func (s *barrierSink) Apply(r *segment.Record) error {
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
