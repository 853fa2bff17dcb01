package resolve

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/syncer"
)

// ErrNoCommon means that the point where the file and the bucket diverged can no longer
// be determined.
var ErrNoCommon = errors.New("the point where the file and the bucket diverged is no longer known")

// common finds the last common point of the file and the bucket's history m: the last end
// of a transaction at which both have the same chain.
//
// The file knows the chain at one point, and its log forward from there. What it had
// before its log began, it got from the bucket. So common follows both logs, from the
// bucket's newest snapshot that is not past the beginning of the file's log.
func common(ctx context.Context, b *remote.Bucket, m *remote.Manifest, f syncer.File) (at remote.Position, err error) {
	oldest, err := f.Log.Oldest()
	if err != nil {
		return at, err
	}
	start := beginning(m, oldest-1)
	theirs := from(start)
	if _, err := b.Walk(ctx, m, start, remote.Target{}, theirs); err != nil {
		return at, unknown(err)
	}
	first, ok := theirs.at(max(start.Sequence, oldest-1))
	if !ok {
		return at, fmt.Errorf("%w: the file's log begins after change %d, and the bucket's history has no transaction that ends there", ErrNoCommon, oldest-1)
	}
	if first.Sequence > f.Last {
		return at, fmt.Errorf("%w: the bucket has nothing left before change %d, and the file's log ends with %d", ErrNoCommon, first.Sequence, f.Last)
	}
	ours := from(first)
	if err := ours.follow(f.Log); err != nil {
		return at, unknown(err)
	}
	if same, err := ours.contain(f); err != nil {
		return at, unknown(err)
	} else if !same {
		return at, fmt.Errorf("%w: they diverged before change %d, the first one left in the file's log", ErrNoCommon, first.Sequence+1)
	}
	for _, end := range ours.list {
		if known, ok := theirs.at(end.Sequence); ok && known.Chain == end.Chain {
			at = end
		}
	}
	return at, nil
}

// contain reports whether the history that e followed is the file's own: whether it has
// the chain that the books give, at the position that they give.
func (e *ends) contain(f syncer.File) (bool, error) {
	if acked, ok := e.at(f.Books.Acked); ok {
		return acked.Chain == f.Books.Chain, nil
	}
	first := e.list[0]
	if f.Books.Acked > first.Sequence {
		return false, nil
	}
	own := from(remote.Position{Sequence: f.Books.Acked, Chain: f.Books.Chain})
	err := own.follow(f.Log)
	known, ok := own.at(first.Sequence)
	return ok && known.Chain == first.Chain, err
}

// unknown turns err into ErrNoCommon if it means that a needed part of a log is gone.
func unknown(err error) error {
	if errors.Is(err, remote.ErrTooOld) || errors.Is(err, changelog.ErrTrimmed) {
		return fmt.Errorf("%w: %w", ErrNoCommon, err)
	}
	return err
}

// beginning is where to start reading m's history in order to pass sequence: at its
// newest snapshot that is not after sequence, or else at its oldest point.
func beginning(m *remote.Manifest, sequence int64) remote.Position {
	start := m.Genesis()
	for i, s := range m.Snapshots {
		if s.Sequence <= sequence || i == 0 && m.Begins() > 0 {
			start = remote.Position{Sequence: s.Sequence, Chain: s.Chain}
		}
	}
	return start
}

// ends holds the ends of transactions, in order, with the chain at each. As a sink it
// collects those of a walk.
type ends struct {
	w      *batch.Writer
	list   []remote.Position
	places map[int64]int // by sequence
	proven int           // how many ends a walk's committed batches have proven
}

// from starts at a known position.
func from(at remote.Position) *ends {
	e := &ends{list: []remote.Position{at}, places: map[int64]int{at.Sequence: 0}}
	e.resume()
	return e
}

// resume continues from the last end.
func (e *ends) resume() {
	at := e.list[len(e.list)-1]
	e.w = batch.NewWriter(io.Discard, batch.Header{NodeID: "resolve", From: at.Sequence + 1, Prev: at.Chain})
}

func (e *ends) end(sequence int64) error {
	if err := e.w.End(); err != nil {
		return err
	}
	e.places[sequence] = len(e.list)
	e.list = append(e.list, remote.Position{Sequence: sequence, Chain: e.w.Chain()})
	return nil
}

// at returns the end of a transaction at sequence, if there is one.
func (e *ends) at(sequence int64) (remote.Position, bool) {
	i, ok := e.places[sequence]
	if !ok {
		return remote.Position{}, false
	}
	return e.list[i], true
}

// follow reads a log to its end.
func (e *ends) follow(log *changelog.Log) error {
	return log.Each(e.list[0].Sequence+1, func(t changelog.Transaction) error {
		if err := e.w.Begin(t.First, t.Time); err != nil {
			return err
		}
		if err := log.Entries(t, func(_ int64, c *change.Entry) error { return e.w.Add(c) }); err != nil {
			return err
		}
		return e.end(t.Last())
	})
}

// Begin, Apply, Commit and Rollback implement a walk's sink.
func (e *ends) Begin() error {
	e.proven = len(e.list)
	e.resume()
	return nil
}

func (e *ends) Apply(r *batch.Record) error {
	if r.First {
		if err := e.w.Begin(r.Sequence, r.Time); err != nil {
			return err
		}
	}
	if err := e.w.Add(&r.Entry); err != nil || !r.Last {
		return err
	}
	return e.end(r.End())
}

func (e *ends) Commit(remote.Position, digest.Report) error { return nil }

func (e *ends) Rollback() error {
	for _, end := range e.list[e.proven:] {
		delete(e.places, end.Sequence)
	}
	e.list = e.list[:e.proven]
	return nil
}
