package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/segment"
)

// Check compares the file with its bucket, reached by way of b, without writing
// to that. ErrDiverged means that the file does not continue what the bucket
// has.
func (s *Syncer) Check(ctx context.Context, b *remote.Bucket) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	_, err := s.compare(ctx, b)
	return err
}

// attach gives this session its epoch: the first thing that an upload needs.
// It compares the file with the bucket and swaps the manifest to the next
// epoch, also when the last one was this node's own, since a copy of this disk
// may be running elsewhere.
func (s *Syncer) attach(ctx context.Context) error {
	if err := s.dropUploads(ctx); err != nil {
		return err
	}
	for {
		stored, err := s.compare(ctx, s.cfg.Bucket)
		if err != nil {
			return err
		}
		m := &remote.Manifest{
			FormatVersion: remote.ManifestVersion, Name: s.cfg.Bucket.Name(), DatabaseID: s.log.Identity().DatabaseID,
		}
		if stored.Manifest != nil {
			m = stored.Clone()
		}
		m.Takeover(s.log.Identity().NodeID, remote.Position{Sequence: s.books.Acked, Chain: s.books.Chain})
		next, err := s.swap(ctx, stored, m)
		if errors.Is(err, remote.ErrLost) {
			continue // somebody else was faster: look again at what he left
		}
		if err != nil {
			return fmt.Errorf("take an epoch: %w", err)
		}
		s.manifest, s.epoch = next, next.Epoch
		s.event("took an epoch", "epoch", s.epoch, "sequence", s.books.Acked)
		return s.confirmed(ctx)
	}
}

// dropUploads clears the queue of jobs from earlier sessions. Their names
// carry an epoch that has ended; what they had stored is found by compare.
func (s *Syncer) dropUploads(ctx context.Context) error {
	jobs, err := s.log.Jobs()
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if err := s.exclusive(ctx, func() error { return s.log.Drop(j) }); err != nil {
			return err
		}
	}
	return nil
}

// advice is what to do when file and bucket do not belong together.
const advice = "Nothing was overwritten. To go on with the bucket's history, move the file away and open with AutoRestore; to begin another one with this file, Detach it and open it under another name"

// compare finds where the bucket's history ends and what that means for this
// file; the books then say how much of the log the bucket has. A zero Stored
// means that the bucket has nothing.
func (s *Syncer) compare(ctx context.Context, bucket *remote.Bucket) (remote.Stored, error) {
	stored, err := bucket.Manifest(ctx)
	if errors.Is(err, remote.ErrNoBackup) {
		return remote.Stored{}, s.startOver(ctx)
	}
	if err != nil {
		return stored, err
	}
	id := s.log.Identity()
	if stored.DatabaseID != id.DatabaseID {
		return stored, s.diverged("the bucket holds another database under the name %q (id %s, this file is %s). %s", id.Name, stored.DatabaseID, id.DatabaseID, advice)
	}
	tip := remote.Position{Sequence: stored.LatestSequence, Chain: stored.ChainHead}
	if tip, err = bucket.Walk(ctx, stored.Manifest, tip, remote.Target{}, nil); err != nil {
		return stored, err
	}
	return stored, s.align(ctx, stored.Manifest, tip)
}

// align checks that the file's history contains the bucket's.
func (s *Syncer) align(ctx context.Context, m *remote.Manifest, tip remote.Position) error {
	last := s.cfg.Sequence()
	switch {
	case tip.Sequence > last:
		return s.diverged("the bucket is ahead of this file: it has changes up to %d, the file up to %d. This is an old copy of the database. %s", tip.Sequence, last, advice)
	case tip.Sequence < s.books.Acked:
		return s.diverged("the bucket has lost changes: it ends at %d, but had %d. %s", tip.Sequence, s.books.Acked, advice)
	}
	chain, err := s.log.ChainAt(s.books.Acked, s.books.Chain, tip.Sequence)
	if err != nil {
		return s.diverged("the bucket ends at %d, which is no end of a transaction of this file's (%v). %s", tip.Sequence, err, advice)
	}
	if chain != tip.Chain {
		return s.diverged("the bucket's changes up to %d are not this file's. %s", tip.Sequence, advice)
	}
	b := s.books
	if tip.Sequence > b.Acked {
		if b.Barrier, err = s.lastBarrier(b.Acked+1, tip.Sequence, b.Barrier); err != nil {
			return err
		}
	}
	b.Acked, b.Chain = tip.Sequence, tip.Chain
	b.Confirmed = min(m.LatestSequence, b.Acked)
	if n := len(m.Snapshots); n > 0 {
		b.Snapshot, b.SnapshotBytes = m.Snapshots[n-1].Sequence, m.Snapshots[n-1].Size
	}
	return s.setBooks(ctx, b)
}

// startOver prepares for a bucket that has nothing. A file that has sent
// changes elsewhere may not have all of its log any more, so a new bucket
// begins with a snapshot.
func (s *Syncer) startOver(ctx context.Context) error {
	if s.books.Acked == 0 {
		return nil
	}
	if s.epoch != 0 {
		return s.diverged("the bucket has been emptied while this session was writing to it; open the database again to fill it anew")
	}
	first, err := s.log.Oldest()
	if err != nil {
		return err
	}
	if first > 1 {
		return s.diverged("the bucket has nothing under this name, but this file has sent it changes up to %d and does not have all of its log any more. Put the bucket's contents back, or Detach the file, which makes it free to begin anew", s.books.Acked)
	}
	return s.setBooks(ctx, changelog.Books{Snapshot: -1, Chain: segment.Genesis(s.log.Identity().DatabaseID)})
}

func (s *Syncer) diverged(format string, args ...any) error {
	return s.stop(fmt.Errorf("%w: "+format, append([]any{ErrDiverged}, args...)...))
}
