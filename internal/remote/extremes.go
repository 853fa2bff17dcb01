package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/digest"
)

// Extreme is the first or the last point that a backup has.
type Extreme struct {
	Sequence int64
	Time     int64 // Unix ms, of the transaction that ends there; 0: unknown
}

func (e Extreme) String() string {
	if e.Time == 0 {
		return fmt.Sprint(e.Sequence)
	}
	return fmt.Sprintf("%d (%s)", e.Sequence, time.UnixMilli(e.Time).UTC().Format("2006-01-02T15:04:05.000Z"))
}

// Extremes returns the first and the last point of the history that m describes. It reads
// the batches after the newest snapshot and, if no snapshot is the first point, the first
// batch. Sequence is 0 if there is no change yet.
func (b *Bucket) Extremes(ctx context.Context, m *Manifest) (first, last Extreme, err error) {
	start := m.Genesis()
	if n := len(m.Snapshots); n > 0 {
		newest, oldest := m.Snapshots[n-1], m.Snapshots[0]
		start, last = Position{newest.Sequence, newest.Chain}, Extreme{newest.Sequence, newest.LastTime()}
		if m.Begins() > 0 {
			first = Extreme{oldest.Sequence, oldest.LastTime()}
		}
	}
	tips, err := b.Tips(ctx, m)
	if err != nil {
		return first, last, err
	}
	ends := &endSink{last: last}
	if _, err := b.Walk(ctx, m, start, Target{Sequence: tips.Near.Sequence}, ends); err != nil {
		return first, last, err
	}
	if last = ends.last; first.Sequence > 0 || last.Sequence == 0 {
		return first, last, nil
	}
	ends = &endSink{one: true}
	_, err = b.Walk(ctx, m, m.Genesis(), Target{}, ends)
	if errors.Is(err, errFirst) {
		err = nil
	}
	return ends.first, last, err
}

// errFirst ends a walk after its first batch.
var errFirst = errors.New("the first batch is enough")

// endSink records the first and the last end of a transaction that a walk passes.
type endSink struct {
	first, last Extreme
	one         bool // only the first batch

	began, ended Extreme // in a batch that is not proven yet
}

func (s *endSink) Begin() error    { s.began, s.ended = s.first, s.last; return nil }
func (s *endSink) Rollback() error { return nil }

func (s *endSink) Apply(r *batch.Record) error {
	if !r.Last {
		return nil
	}
	s.ended = Extreme{r.End(), r.Time}
	if s.began.Sequence == 0 {
		s.began = s.ended
	}
	return nil
}

func (s *endSink) Commit(Position, digest.Report) error {
	if s.first, s.last = s.began, s.ended; s.one {
		return errFirst
	}
	return nil
}

// Outside adds to err, which says that a point is outside of what the backup has, which
// points it does have.
func (b *Bucket) Outside(ctx context.Context, m *Manifest, err error) error {
	first, last, why := b.Extremes(ctx, m)
	switch {
	case why != nil:
		return err // it is the one that was asked for
	case last.Sequence == 0:
		return fmt.Errorf("%w; the backup has no changes yet", err)
	}
	return fmt.Errorf("%w; the earliest point is %s, and the latest %s", err, first, last)
}
