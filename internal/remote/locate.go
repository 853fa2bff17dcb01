package remote

import (
	"context"
	"fmt"
	"slices"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
)

// Locate finds the state at a time (Unix ms): everything up to the last transaction whose
// own time, by the clock of the writer that committed it, is not later. It returns where
// that transaction ends, or ErrTooOld if there is none.
//
// Times may go backwards, so the search for the last such transaction starts from the
// end: first past the manifest's head, then the interval after each snapshot, newest
// first. The manifest holds the smallest time of each interval, so most intervals are
// skipped unread.
//
// If the transaction is a barrier over a range, the time may lie within that range, where
// the state is unknown. The returned sequence then lies within the range, too.
//
// The refused objects that it returns lie past the manifest's head.
func (b *Bucket) Locate(ctx context.Context, m *Manifest, at int64) (sequence int64, refused []Refusal, err error) {
	past := finder{at: at, unconfirmed: true}
	end, err := b.Walk(ctx, m, m.Head(), Target{}, &past)
	if err != nil || past.found > 0 {
		return past.found, end.Refused, err
	}
	sequence, err = b.confirmedAt(ctx, m, at)
	return sequence, end.Refused, err
}

// confirmedAt is Locate for the part that the manifest confirms.
func (b *Bucket) confirmedAt(ctx context.Context, m *Manifest, at int64) (int64, error) {
	to, earliest := m.LatestSequence, m.Earliest
	for _, s := range slices.Backward(m.Snapshots) {
		if found, err := b.find(ctx, m, Position{s.Sequence, s.Chain}, to, earliest, at); err != nil || found > 0 {
			return found, err
		}
		if s.Sequence > 0 && s.LastTime() <= at {
			return s.Sequence, nil
		}
		to, earliest = s.Sequence, s.Earliest
	}
	if m.Begins() == 0 {
		if found, err := b.find(ctx, m, m.Genesis(), to, earliest, at); err != nil || found > 0 {
			return found, err
		}
	}
	return 0, fmt.Errorf("%w: its first change is later", ErrTooOld)
}

// LastTime is the time of the last transaction in a snapshot, or when the snapshot was
// taken if its writer did not record that.
func (s Snapshot) LastTime() int64 {
	if s.Changed != 0 {
		return s.Changed
	}
	return s.Time
}

// find looks for the last transaction after start, up to sequence to, that is not later
// than at. None of them is earlier than earliest, if that is known. It returns 0 if there
// is none.
func (b *Bucket) find(ctx context.Context, m *Manifest, start Position, to, earliest, at int64) (int64, error) {
	if to <= start.Sequence || earliest > at {
		return 0, nil
	}
	f := finder{at: at}
	_, err := b.Walk(ctx, m, start, Target{to}, &f)
	return f.found, err
}

// finder is a sink that records the last transaction that is not later than at.
type finder struct {
	at          int64
	unconfirmed bool // no manifest confirms the changes, so none behind a barrier counts

	found, pending int64
	over, ending   bool // whether such a barrier was reached
}

func (f *finder) Begin() error    { f.pending, f.ending = f.found, f.over; return nil }
func (f *finder) Rollback() error { return nil }

func (f *finder) Apply(r *batch.Record) error {
	f.ending = f.ending || f.unconfirmed && r.Entry.Op == change.Barrier
	switch {
	case f.ending || !r.Last || r.Time > f.at:
	case r.Entry.Width() > 1:
		f.pending = r.End() - 1
	default:
		f.pending = r.End()
	}
	return nil
}

func (f *finder) Commit(Position, digest.Report) error {
	f.found, f.over = f.pending, f.ending
	return nil
}
