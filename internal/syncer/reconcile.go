package syncer

import (
	"context"
	"errors"
	"maps"
	"math"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
)

// reconcile brings the file and the books in line with the comparison.
func (e *epoch) reconcile(ctx context.Context, c Comparison, trail *remote.Trail, hurry bool) error {
	switch c.relation {
	case vacant:
		if e.log.Identity().Follower {
			return Vacated(e.log.Identity().Name)
		}
		return e.startOver(ctx)
	case behind:
		return e.catchUp(ctx, c, trail, hurry)
	}
	return e.align(ctx, c)
}

// BooksAt returns the books of a file whose history the bucket has up to at.
func BooksAt(m *remote.Manifest, at remote.Position, barrier int64) changelog.Books {
	b := changelog.Books{Acked: at.Sequence, Chain: at.Chain, Confirmed: min(m.LatestSequence, at.Sequence), Barrier: barrier, Snapshot: -1, Synced: 1}
	if n := len(m.Snapshots); n > 0 {
		b.Snapshot, b.SnapshotBytes = m.Snapshots[n-1].Sequence, m.Snapshots[n-1].Size
	}
	if at.Sequence <= m.LatestSequence { // else the changes after it may have earlier times
		b.Earliest = earliestIn(m)
	}
	return b
}

// align records that the bucket has the file's log up to at. That may be less than the
// books say, if the bucket has a barrier without its snapshot: then at is before the
// barrier, and what follows is sent again, with the snapshot.
func (e *epoch) align(ctx context.Context, c Comparison) error {
	m, at := c.stored.Manifest, c.at
	known, barrier := maps.Clone(e.digests.Known), e.books.Barrier
	if at.Sequence < e.books.Acked {
		known = digest.Set{}
	} else if err := e.follow(at.Sequence, e.books.Acked, &barrier, known); err != nil {
		return err
	}
	b, d := BooksAt(m, at, barrier), changelog.Digests{Known: known, Told: e.digests.Told}
	b.BytesSince = e.books.BytesSince
	if c.stored.ETag() == e.books.Manifest && at.Sequence == e.books.Acked {
		b.Manifest, b.Group = e.books.Manifest, e.books.Group
	}
	beyond, err := e.log.Earliest(m.LatestSequence, at.Sequence)
	if err != nil {
		return err
	}
	b.Earliest = min(beyond, earliestIn(m))
	if at.Sequence != e.books.Acked {
		d.Told = digest.Set{} // the digests in those batches are not known
	}
	if b == e.books {
		return nil
	}
	return e.record(ctx, b, d)
}

// catchUp brings the file up to date, and records its way on trail.
//
// Meanwhile a live writer stores more. So catchUp repeats for as long as each pass finds
// less than half as much as the pass before. With hurry, because that writer has already
// been faster once, it does a single pass.
func (e *epoch) catchUp(ctx context.Context, c Comparison, trail *remote.Trail, hurry bool) (err error) {
	m, at := c.stored.Manifest, c.at
	known, barrier := maps.Clone(e.digests.Known), e.books.Barrier
	if err := e.follow(at.Sequence, e.books.Acked, &barrier, known); err != nil {
		return err
	}
	conn, err := e.cfg.Writer()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	trail.Add(m, at)
	step := restore.CatchUp{
		Bucket: e.cfg.Bucket, Manifest: m, Conn: conn, From: at, Digests: e.unsaved.digests, Known: known,
		Books:     func(at remote.Position) changelog.Books { return BooksAt(m, at, barrier) },
		StandBack: e.cfg.StandBack,
		Moved: func(b changelog.Books, d changelog.Digests) {
			e.keep(b, d)
			e.saved(d)
			e.cfg.Advance(b.Acked)
			trail.Add(m, remote.Position{Sequence: b.Acked, Chain: b.Chain})
		},
	}
	for limit := int64(math.MaxInt64); err == nil; {
		at, err = step.Run(ctx)
		grown := at.Sequence - step.From.Sequence
		if hurry || grown == 0 || grown >= limit {
			break
		}
		step.From, step.Digests, step.Known, limit = at, e.unsaved.digests, e.digests.Known, grown/2
	}
	if at != c.at {
		e.unsummed = true
		e.event(event.CaughtUp, "brought the file up to date with the bucket", "from", c.at.Sequence, "to", at.Sequence)
	}
	return err
}

// startOver prepares for an empty bucket, which is new or has been emptied. If the file's
// log has been trimmed, startOver acts as if there were a barrier, so that the new backup
// begins with a snapshot.
func (e *epoch) startOver(ctx context.Context) error {
	if e.books.Acked == 0 {
		return nil
	}
	first, err := e.log.Oldest()
	if err != nil {
		return err
	}
	b := changelog.Books{Snapshot: -1, Chain: batch.Genesis(e.log.Identity().DatabaseID), Earliest: changelog.NoTime, Synced: 1}
	d := changelog.Digests{Known: digest.Set{}, Told: digest.Set{}}
	if first > 1 {
		b.Acked, b.Chain, b.Barrier = e.books.Acked, e.books.Chain, e.books.Acked
		d.Known = e.digests.Known
	}
	e.cfg.Logger.Warn(event.BackupBegun, "the bucket has nothing under this name although this file uploaded changes to it; a new backup starts", "name", e.log.Identity().Name, "sent", e.books.Acked)
	return e.record(ctx, b, d)
}

// stepBack resets the books to what the manifest confirms, and reports whether they said
// more.
func (e *epoch) stepBack(ctx context.Context) (stepped bool, err error) {
	b := e.books
	if b.Acked <= e.manifest.LatestSequence {
		return false, nil
	}
	b.Acked, b.Chain, b.Confirmed, b.Group = e.manifest.LatestSequence, e.manifest.ChainHead, e.manifest.LatestSequence, changelog.Group{}
	e.unsummed = true
	return true, e.record(ctx, b, changelog.Digests{Known: digest.Set{}, Told: digest.Set{}})
}
