package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// confirm swaps the manifest, so that it names what the bucket has; edit, if
// there is one, changes it further. Behind a barrier nothing counts without a
// snapshot: until edit brings that, or names less, the manifest stays before it.
func (e *epoch) confirm(ctx context.Context, edit func(*remote.Manifest)) error {
	if err := e.settle(ctx); err != nil {
		return err
	}
	m := e.manifest.Clone()
	m.Released = false
	m.LatestSequence, m.ChainHead, m.Earliest = e.books.Acked, e.books.Chain, told(e.books.Earliest)
	m.Observe(e.manifest.Now())
	if err := e.measure(m); err != nil {
		return err
	}
	if edit != nil {
		edit(m)
	}
	if e.books.Barrier > max(m.SnapshotSequence, 0) && m.LatestSequence >= e.books.Barrier {
		return nil
	}
	m.UpdatedAt = time.Now().UnixMilli()
	var err error
	e.manifest, err = e.cfg.Bucket.Swap(ctx, e.manifest, m)
	switch {
	case errors.Is(err, remote.ErrLost):
		return e.fenced(err)
	case errors.Is(err, remote.ErrGone):
		return e.missing(ctx, err)
	case err != nil:
		return fmt.Errorf("replace the manifest: %w", err)
	}
	return e.confirmed(ctx)
}

// announce lets the manifest say how large the file has been, before a batch is stored
// that makes a replay as large.
func (e *epoch) announce(ctx context.Context) error {
	m := e.manifest.Clone()
	if err := e.measure(m); err != nil || m.Largest == e.manifest.Largest {
		return err
	}
	return e.confirm(ctx, nil)
}

// settle finds out what the bucket has when an earlier swap failed in a way
// that leaves that open, and goes on from there.
func (e *epoch) settle(ctx context.Context) (err error) {
	e.manifest, err = e.cfg.Bucket.Settle(ctx, e.manifest)
	switch {
	case errors.Is(err, remote.ErrLost):
		return e.fenced(err)
	case errors.Is(err, remote.ErrGone):
		return e.missing(ctx, err)
	case err != nil:
		return fmt.Errorf("check whether the manifest was replaced: %w", err)
	case e.session.epoch != 0 && e.manifest.Epoch != e.session.epoch:
		return e.renewed(ctx)
	}
	return nil
}

// missing notes that the manifest is gone. What this session has stored behind it may
// be in another place, such as the folder on which the bucket's disk was not mounted,
// so nobody must rely on that. The next round looks again: when the manifest is back,
// the session takes another epoch, and finds by comparing what there is; when it is
// not, a new backup begins, with a snapshot if the log does not reach back far enough.
func (e *epoch) missing(ctx context.Context, gone error) error {
	e.gone = true
	_, err := e.stepBack(ctx)
	return errors.Join(gone, err)
}

// confirmed writes into the books what the manifest now says.
func (e *epoch) confirmed(ctx context.Context) error {
	return e.setBooks(ctx, e.toldBy(e.manifest.Manifest, e.books))
}

// toldBy returns the books with what m says, which this session has just stored.
func (e *epoch) toldBy(m *remote.Manifest, b changelog.Books) changelog.Books {
	e.swapped = time.Now()
	e.compareClocks()
	b.Synced, b.Silent, b.Manifest = 1, 0, ""
	if !e.cfg.Advisory { // else nobody knows whether the store honours conditions
		b.Manifest = e.manifest.ETag()
	}
	b.Confirmed, b.Earliest = m.LatestSequence, earliestIn(m)
	if n := len(m.Snapshots); n > 0 {
		last := m.Snapshots[n-1]
		e.tellFaults(last)
		if b.Snapshot != last.Sequence {
			b.Snapshot, b.SnapshotBytes, b.BytesSince = last.Sequence, last.Size, 0
		}
	}
	return b
}

// earliestIn is what the books have to know of the times that m tells.
func earliestIn(m *remote.Manifest) int64 {
	if m.LatestSequence <= m.SnapshotSequence {
		return changelog.NoTime
	}
	return m.Earliest
}

// told is a smallest time as a manifest tells it: of nothing, it says nothing.
func told(earliest int64) int64 {
	if earliest == changelog.NoTime {
		return 0
	}
	return earliest
}
