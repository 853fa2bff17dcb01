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
func (s *Syncer) confirm(ctx context.Context, edit func(*remote.Manifest)) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	m := s.manifest.Clone()
	m.Released = false
	m.LatestSequence, m.ChainHead, m.Earliest = s.books.Acked, s.books.Chain, told(s.books.Earliest)
	m.Observe(s.manifest.Now())
	if err := s.measure(m); err != nil {
		return err
	}
	if edit != nil {
		edit(m)
	}
	if s.books.Barrier > max(m.SnapshotSequence, 0) && m.LatestSequence >= s.books.Barrier {
		return nil
	}
	m.UpdatedAt = time.Now().UnixMilli()
	var err error
	s.manifest, err = s.cfg.Bucket.Swap(ctx, s.manifest, m)
	switch {
	case errors.Is(err, remote.ErrLost):
		return s.fenced(err)
	case errors.Is(err, remote.ErrGone):
		return s.missing(ctx, err)
	case err != nil:
		return fmt.Errorf("replace the manifest: %w", err)
	}
	return s.confirmed(ctx)
}

// announce lets the manifest say how large the file has been, before a batch is stored
// that makes a replay as large.
func (s *Syncer) announce(ctx context.Context) error {
	m := s.manifest.Clone()
	if err := s.measure(m); err != nil || m.Largest == s.manifest.Largest {
		return err
	}
	return s.confirm(ctx, nil)
}

// measure brings into m how large the file has been.
func (s *Syncer) measure(m *remote.Manifest) error {
	pages, size, err := s.log.Largest()
	m.Grow(remote.Extent{Pages: pages, PageSize: size})
	return err
}

// settle finds out what the bucket has when an earlier swap failed in a way
// that leaves that open, and goes on from there.
func (s *Syncer) settle(ctx context.Context) (err error) {
	s.manifest, err = s.cfg.Bucket.Settle(ctx, s.manifest)
	switch {
	case errors.Is(err, remote.ErrLost):
		return s.fenced(err)
	case errors.Is(err, remote.ErrGone):
		return s.missing(ctx, err)
	case err != nil:
		return fmt.Errorf("find out whether the manifest was replaced: %w", err)
	case s.epoch != 0 && s.manifest.Epoch != s.epoch:
		return s.renewed(ctx)
	}
	return nil
}

// missing notes that the manifest is gone. What this session has stored behind it may
// be in another place, such as the folder on which the bucket's disk was not mounted,
// so nobody must rely on that. The next round looks again: when the manifest is back,
// the session takes another epoch, and finds by comparing what there is; when it is
// not, a new backup begins, with a snapshot if the log does not reach back far enough.
func (s *Syncer) missing(ctx context.Context, gone error) error {
	s.gone = true
	_, err := s.stepBack(ctx)
	return errors.Join(gone, err)
}

// confirmed writes into the books what the manifest now says.
func (s *Syncer) confirmed(ctx context.Context) error {
	return s.setBooks(ctx, s.toldBy(s.manifest.Manifest, s.books))
}

// toldBy returns the books with what m says, which this session has just stored.
func (s *Syncer) toldBy(m *remote.Manifest, b changelog.Books) changelog.Books {
	s.swapped = time.Now()
	s.compareClocks()
	b.Synced, b.Silent, b.Manifest = 1, 0, ""
	if !s.cfg.Advisory { // else nobody knows whether the store honours conditions
		b.Manifest = s.manifest.ETag()
	}
	b.Confirmed, b.Earliest = m.LatestSequence, earliestIn(m)
	if n := len(m.Snapshots); n > 0 {
		last := m.Snapshots[n-1]
		s.tellFaults(last)
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

// setBooks replaces the books, if they differ.
func (s *Syncer) setBooks(ctx context.Context, b changelog.Books) error {
	if b == s.books {
		return nil
	}
	return s.record(ctx, b, s.digests)
}
