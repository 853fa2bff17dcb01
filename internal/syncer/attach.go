package syncer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/segment"
)

// Check compares the file with its bucket, reached by way of b, which should
// not repeat what fails: it is for who cannot wait. If another node is the
// writer, it is told at once that it no longer is. ErrDiverged means that the
// file does not continue what the bucket has.
func (s *Syncer) Check(ctx context.Context, b *remote.Bucket) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	stored, err := s.compare(ctx, b)
	if err != nil || stored.Manifest == nil || stored.NodeID == s.log.Identity().NodeID {
		return err
	}
	if err := s.take(ctx, b, stored); !errors.Is(err, remote.ErrLost) {
		return err
	}
	return nil // somebody else was faster; before the first upload it is looked at again
}

// attach gives this session its epoch: the first thing that an upload needs.
// It compares the file with the bucket and swaps the manifest to the next
// epoch, also when the last one was this node's own, since a copy of this disk
// may be running elsewhere.
func (s *Syncer) attach(ctx context.Context) error {
	for {
		stored, err := s.compare(ctx, s.cfg.Bucket)
		if err != nil {
			return err
		}
		if err := s.take(ctx, s.cfg.Bucket, stored); !errors.Is(err, remote.ErrLost) {
			return err
		} // somebody else was faster: look again at what he left
	}
}

// take swaps the manifest to an epoch of this session's own. The bucket's
// history is known to end where the books say.
func (s *Syncer) take(ctx context.Context, b *remote.Bucket, stored remote.Stored) error {
	id := s.log.Identity()
	if err := s.dropUploads(ctx); err != nil {
		return err
	}
	if !s.cfg.Advisory {
		if err := b.Probe(ctx, id.NodeID); errors.Is(err, remote.ErrConditions) {
			return s.stop(err)
		} else if err != nil {
			return err
		}
	}
	m := &remote.Manifest{
		FormatVersion: remote.ManifestVersion, Name: b.Name(), DatabaseID: id.DatabaseID,
	}
	if stored.Manifest != nil {
		m = stored.Clone()
	}
	m.Takeover(id.NodeID, remote.Position{Sequence: s.books.Acked, Chain: s.books.Chain})
	m.Earliest, m.UpdatedAt = told(s.books.Earliest), time.Now().UnixMilli()
	next, err := b.Swap(ctx, stored, m)
	if err != nil {
		return fmt.Errorf("take an epoch: %w", err)
	}
	s.manifest, s.epoch, s.node, s.pieces = next, next.Epoch, id.NodeID, nil
	s.event("took an epoch", "epoch", s.epoch, "sequence", s.books.Acked)
	return s.confirmed(ctx)
}

// dropUploads clears the queue of uploads of earlier sessions. Their names
// carry an epoch that has ended; what they had stored is found by compare.
func (s *Syncer) dropUploads(ctx context.Context) error {
	jobs, err := s.log.Jobs(changelog.Upload)
	if err != nil || len(jobs) == 0 {
		return err
	}
	return s.exclusive(ctx, func() error { return s.log.Drop(jobs) })
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
	if s.cfg.Exclusive && stored.NodeID != id.NodeID {
		return stored, s.stop(fmt.Errorf("%w: node %s, epoch %d, last heard of at %s; this one is node %s. To take the database over, open it with Takeover: Allow",
			ErrHeld, stored.NodeID, stored.Epoch, time.UnixMilli(stored.UpdatedAt).UTC().Format(time.RFC3339), id.NodeID))
	}
	far, near, err := bucket.Tips(ctx, stored.Manifest)
	if err != nil {
		return stored, err
	}
	err = s.align(ctx, stored.Manifest, far)
	switch {
	case near == far:
	case err == nil:
		err = s.rewind(ctx, near)
	case errors.Is(err, errOther):
		err = s.align(ctx, stored.Manifest, near)
	}
	if errors.Is(err, errOther) {
		err = s.diverged("%w. %s", err, advice)
	}
	return stored, err
}

// errOther says that the file's history does not contain the bucket's.
var errOther = errors.New("the bucket's history is not this file's")

// align checks that the file's history contains the bucket's up to tip.
func (s *Syncer) align(ctx context.Context, m *remote.Manifest, tip remote.Position) error {
	last := s.cfg.Sequence()
	switch {
	case tip.Sequence > last:
		return fmt.Errorf("%w: the bucket has changes up to %d, the file up to %d, so this is an old copy of the database", errOther, tip.Sequence, last)
	case tip.Sequence < s.books.Acked:
		return fmt.Errorf("%w: this file has sent changes up to %d, of which the history in the bucket has those up to %d; another writer has taken over, or the bucket is an older copy", errOther, s.books.Acked, tip.Sequence)
	}
	chain, err := s.log.ChainAt(s.books.Acked, s.books.Chain, tip.Sequence)
	if err != nil {
		return fmt.Errorf("%w: it ends at %d, which is no end of a transaction here (%v)", errOther, tip.Sequence, err)
	}
	if chain != tip.Chain {
		return fmt.Errorf("%w: the changes up to %d differ", errOther, tip.Sequence)
	}
	b, known := s.books, maps.Clone(s.digests.Known)
	if err := s.follow(tip.Sequence, b.Acked, &b.Barrier, known); err != nil {
		return err
	}
	b.Acked, b.Chain = tip.Sequence, tip.Chain
	b.Confirmed = min(m.LatestSequence, b.Acked)
	b.Snapshot, b.SnapshotBytes = -1, 0
	if n := len(m.Snapshots); n > 0 {
		b.Snapshot, b.SnapshotBytes = m.Snapshots[n-1].Sequence, m.Snapshots[n-1].Size
	}
	if b.Earliest, err = s.log.Earliest(m.LatestSequence, tip.Sequence); err != nil {
		return err
	}
	b.Earliest = min(b.Earliest, earliestIn(m))
	d := changelog.Digests{Known: known, Told: s.digests.Told}
	if tip.Sequence > s.books.Acked {
		d.Told = digest.Set{} // what those batches told is not known any more
	}
	if b == s.books {
		return nil
	}
	return s.setAll(ctx, b, d)
}

// rewind goes back to near, before a barrier that the bucket has without its
// snapshot: to take over behind it would confirm what cannot be restored. What
// follows is sent again, and the snapshot with it.
func (s *Syncer) rewind(ctx context.Context, near remote.Position) error {
	chain, err := s.log.ChainAt(near.Sequence, near.Chain, s.books.Acked)
	if err != nil {
		return err
	}
	if chain != s.books.Chain {
		return fmt.Errorf("%w: the changes up to %d differ", errOther, near.Sequence)
	}
	b := s.books
	b.Acked, b.Chain, b.Confirmed = near.Sequence, near.Chain, min(b.Confirmed, near.Sequence)
	return s.setAll(ctx, b, changelog.Digests{Known: digest.Set{}, Told: digest.Set{}})
}

// startOver prepares for a bucket that has nothing: a new one, or one that has
// been emptied. If the file does not have all of its log any more, it acts as
// if there were a barrier: the new backup begins with a snapshot.
func (s *Syncer) startOver(ctx context.Context) error {
	if s.books.Acked == 0 {
		return nil
	}
	first, err := s.log.Oldest()
	if err != nil {
		return err
	}
	b := changelog.Books{Snapshot: -1, Chain: segment.Genesis(s.log.Identity().DatabaseID), Earliest: changelog.NoTime}
	d := changelog.Digests{Known: digest.Set{}, Told: digest.Set{}}
	if first > 1 {
		b.Acked, b.Chain, b.Barrier = s.books.Acked, s.books.Chain, s.books.Acked
		d.Known = s.digests.Known
	}
	s.cfg.Logger.Warn("the bucket has nothing under this name although this file has sent it changes; a new backup begins", "scope", "sync", "name", s.log.Identity().Name, "sent", s.books.Acked)
	return s.setAll(ctx, b, d)
}
