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
// snapshot: until edit brings that, the manifest stays before it.
func (s *Syncer) confirm(ctx context.Context, edit func(*remote.Manifest)) error {
	m := s.manifest.Clone()
	m.LatestSequence, m.ChainHead = s.books.Acked, s.books.Chain
	if edit != nil {
		edit(m)
	}
	if s.books.Barrier > max(m.SnapshotSequence, 0) {
		return nil
	}
	next, err := s.swap(ctx, s.manifest, m)
	if errors.Is(err, remote.ErrLost) {
		return s.fenced(err)
	}
	if err != nil {
		return fmt.Errorf("replace the manifest: %w", err)
	}
	s.manifest = next
	return s.confirmed(ctx)
}

func (s *Syncer) swap(ctx context.Context, prev remote.Stored, m *remote.Manifest) (remote.Stored, error) {
	m.UpdatedAt = time.Now().UnixMilli()
	return s.cfg.Bucket.Swap(ctx, prev, m)
}

// confirmed writes into the books what the manifest now says.
func (s *Syncer) confirmed(ctx context.Context) error {
	s.swapped = time.Now()
	b := s.books
	b.Confirmed = s.manifest.LatestSequence
	if n := len(s.manifest.Snapshots); n > 0 {
		last := s.manifest.Snapshots[n-1]
		if b.Snapshot != last.Sequence {
			b.Snapshot, b.SnapshotBytes, b.BytesSince = last.Sequence, last.Size, 0
		}
	}
	if err := s.setBooks(ctx, b); err != nil {
		return err
	}
	s.status.confirmed.Store(b.Confirmed)
	return nil
}

func (s *Syncer) setBooks(ctx context.Context, b changelog.Books) error {
	if b == s.books {
		return nil
	}
	return s.setAll(ctx, b, s.digests)
}

// setAll replaces the books and the digests.
func (s *Syncer) setAll(ctx context.Context, b changelog.Books, d changelog.Digests) error {
	if err := s.exclusive(ctx, func() error { return s.log.SetBooks(b, s.digests, d) }); err != nil {
		return err
	}
	s.books, s.digests = b, d
	s.status.acked.Store(b.Acked)
	s.status.confirmed.Store(b.Confirmed)
	return nil
}

func (s *Syncer) exclusive(ctx context.Context, fn func() error) error {
	return s.cfg.StandBack(ctx, fn)
}
