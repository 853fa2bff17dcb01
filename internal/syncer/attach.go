package syncer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/segment"
)

// Check compares the file with its bucket. It does not wait for a bucket that is
// away. first, if there is one, is how the two were a moment ago. A file that is behind, and has nothing of
// its own, is brought up to date. Who writes the bucket stays what it is.
//
// ErrDiverged means that the file does not continue what the bucket has;
// restore.ErrCannotCatchUp that it has to be restored, and nothing in it is lost by
// that. After other errors a later round looks again.
func (s *Syncer) Check(ctx context.Context, first *Comparison) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	err := s.join(ctx, s.cfg.Direct, first, nil)
	s.unchecked = err != nil
	return err
}

// CheckLater says that nobody has compared file and bucket: the loop does it as
// soon as the bucket answers. It is called before Start.
func (s *Syncer) CheckLater() { s.unchecked = true }

// recheck does what a Check could not do, because the bucket did not answer.
func (s *Syncer) recheck(ctx context.Context) error {
	return s.joined(s.join(ctx, s.cfg.Bucket, nil, nil))
}

// attach gives this session its epoch, and may store its first batch with that. It
// compares the file with the bucket, brings it up to date if it is behind and has
// nothing of its own, and swaps the manifest to another epoch, also when the last
// one was this node's own, since a copy of this disk may be running elsewhere.
func (s *Syncer) attach(ctx context.Context, r request, target int64) error {
	return s.joined(s.join(ctx, s.cfg.Bucket, s.lately(), s.taking(ctx, r, target)))
}

// taking is how a join takes an epoch: with a first batch of what is pending up to target,
// if that can be.
func (s *Syncer) taking(ctx context.Context, r request, target int64) func(*remote.Bucket, Comparison) error {
	return func(b *remote.Bucket, c Comparison) error {
		if err := s.probe(ctx, b, c); err != nil {
			return err
		}
		entered, err := s.enter(ctx, b, c, r, target)
		if !entered && err == nil {
			_, err = s.take(ctx, b, c.stored, 1)
		}
		return err
	}
}

// TakeOver gives this session an epoch before its first change, because another node
// was the writer: what that, or another one yet, stores later would make this file
// diverge. Whoever is at work is waited for no longer than patience, and the bucket not
// long either: without an answer the change is made all
// the same, and the epoch is taken with its upload.
func (s *Syncer) TakeOver(ctx context.Context, patience time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.acquire(waiting); err != nil {
		if ctx.Err() == nil {
			s.cfg.Contest(false)
			err = nil
		}
		return err
	}
	defer s.release()
	if s.epoch != 0 || s.broken != nil {
		return s.broken
	}
	ctx, done := s.bound(ctx)
	defer done()
	err := s.joined(s.join(ctx, s.cfg.Direct, s.lately(), s.taking(ctx, request{}, s.books.Acked)))
	s.cfg.Contest(false)
	if err != nil && s.broken == nil && ctx.Err() == nil {
		s.report(err)
		return nil
	}
	return err
}

// lately is the comparison that was made last, unless that was too long ago, or another
// node may have stored batches since. What has become of the manifest since then, the
// swap finds out.
func (s *Syncer) lately() *Comparison {
	c := s.compared
	s.compared = nil
	if c == nil || time.Since(c.made) > compareAgain {
		return nil
	}
	if m := c.stored.Manifest; m != nil && !m.Released && m.NodeID != s.log.Identity().NodeID {
		return nil
	}
	return c
}

// compareAgain is how old a comparison may be that an epoch is taken by.
const compareAgain = time.Minute

// joined is how a join ends while the database is in use: only Open can restore it.
func (s *Syncer) joined(err error) error {
	switch {
	case errors.Is(err, restore.ErrCannotCatchUp) && errors.Is(err, ErrDiverged):
		return s.stop(err) // another Open would not find out that nothing in the file is its own
	case errors.Is(err, restore.ErrCannotCatchUp):
		return s.stop(fmt.Errorf("%w: %w. The file has nothing of its own: open it again, and it is restored", ErrDiverged, err))
	}
	s.unchecked = s.unchecked && err != nil
	if err == nil {
		s.status.behind.Store(false)
	}
	return err
}

// join brings file and bucket together: the books say how much of the log the
// bucket has, and the file has all that the bucket has. Then take, if there is one,
// gives this session an epoch.
//
// The bucket's writer may be alive. When it, or anybody else, replaces the manifest
// before this session does, all of this begins anew from where the file is by then;
// if that is on the way to the new manifest, or behind it, the swap follows at once.
// What the old writer stores between the last look and the swap is left to its branch.
func (s *Syncer) join(ctx context.Context, b *remote.Bucket, first *Comparison, take func(*remote.Bucket, Comparison) error) error {
	trail, moved := new(remote.Trail), false
	for again := false; ; again = true {
		c, err := s.compare(ctx, b, first, trail)
		first = nil
		if moved && errors.Is(err, ErrDiverged) && s.pending() == 0 {
			// Somebody has taken over from before a batch that is in the file by now.
			return fmt.Errorf("%w: %w", restore.ErrCannotCatchUp, err)
		}
		if err != nil {
			return s.judge(err)
		}
		s.tellRefused(c.refused)
		if c.relation == behind {
			b, moved = s.cfg.Bucket, true // it does answer, and it would be a pity to stop half way
		}
		if err := s.reconcile(ctx, c, trail, again); errors.Is(err, changelog.ErrOvertaken) {
			continue
		} else if err != nil {
			return err
		}
		if take == nil {
			if c.relation != behind {
				s.compared = &c
			}
			m := c.stored.Manifest
			s.cfg.Contest(m != nil && m.NodeID != s.log.Identity().NodeID)
			return nil
		}
		if err := take(b, c); !errors.Is(err, remote.ErrLost) {
			return err
		}
	}
}

// compare finds out what the file and the bucket are to each other now, unless
// first says so.
func (s *Syncer) compare(ctx context.Context, b *remote.Bucket, first *Comparison, trail *remote.Trail) (Comparison, error) {
	if first != nil {
		return *first, nil
	}
	f := File{Identity: s.log.Identity(), Books: s.books, Last: s.cfg.Sequence(), Log: s.log, Since: s.swapped}
	return compare(ctx, b, f, s.cfg.Exclusive, trail)
}

// judge gives up for good when err says that somebody has to decide.
func (s *Syncer) judge(err error) error {
	if errors.Is(err, ErrDiverged) || errors.Is(err, ErrHeld) {
		return s.stop(err)
	}
	return err
}

// reconcile makes file and books what the comparison asks for.
func (s *Syncer) reconcile(ctx context.Context, c Comparison, trail *remote.Trail, hurry bool) error {
	switch c.relation {
	case vacant:
		return s.startOver(ctx)
	case behind:
		return s.catchUp(ctx, c, trail, hurry)
	}
	return s.align(ctx, c)
}

// probe finds out, once in a session, whether the store honours conditions. Where it
// has the manifest that this file's last session stored, that is known.
func (s *Syncer) probe(ctx context.Context, b *remote.Bucket, c Comparison) error {
	known := c.stored.Manifest != nil && c.stored.ETag() == s.books.Manifest
	if s.cfg.Advisory || s.probed || known {
		return nil
	}
	err := b.Probe(ctx, s.log.Identity().NodeID, s.log.Identity().DatabaseID)
	if errors.Is(err, remote.ErrConditions) {
		return s.stop(err)
	}
	s.probed = err == nil
	return err
}

// take swaps the manifest to an epoch of this session's own, ahead of the last one by
// so many. The bucket's history is known to end where the books say. After an error
// it returns what Swap does.
func (s *Syncer) take(ctx context.Context, b *remote.Bucket, stored remote.Stored, ahead int64) (_ remote.Stored, err error) {
	id := s.log.Identity()
	if err := s.disown(ctx, stored); err != nil {
		return stored, err
	}
	m := &remote.Manifest{
		Name: b.Name(), DatabaseID: id.DatabaseID,
	}
	if stored.Manifest != nil {
		m = stored.Clone()
	} else if m.Epoch, err = s.lastEpoch(ctx, b); err != nil {
		return stored, err
	}
	m.Epoch += ahead - 1
	if err := s.measure(m); err != nil {
		return stored, err
	}
	m.Takeover(id.NodeID, remote.Position{Sequence: s.books.Acked, Chain: s.books.Chain})
	m.Earliest, m.UpdatedAt = told(s.books.Earliest), time.Now().UnixMilli()
	next, err := b.Swap(ctx, stored, m)
	if err != nil {
		return next, fmt.Errorf("take an epoch: %w", err)
	}
	s.manifest, s.epoch, s.node, s.pieces = next, next.Epoch, id.NodeID, nil
	s.cfg.Contest(false)
	s.event("took an epoch", "epoch", s.epoch, "sequence", s.books.Acked)
	return next, s.confirmed(ctx)
}

// lastEpoch is the epoch after which the first of a bucket without a manifest comes. If
// there was a manifest once, that is the time in Unix seconds, or what batches are left
// tell: nobody may use an old epoch's names again, and a copy of this file may still be
// at work under one that has no batch yet.
func (s *Syncer) lastEpoch(ctx context.Context, b *remote.Bucket) (int64, error) {
	last, err := b.LastEpoch(ctx, s.log.Identity().NodeID)
	if last > 0 || s.books.Synced != 0 {
		last = max(last, time.Now().Unix())
	}
	return last, err
}

// booksAt are the books of a file whose history the bucket has up to at.
func booksAt(m *remote.Manifest, at remote.Position, barrier int64) changelog.Books {
	b := changelog.Books{Acked: at.Sequence, Chain: at.Chain, Confirmed: min(m.LatestSequence, at.Sequence), Barrier: barrier, Snapshot: -1, Synced: 1}
	if n := len(m.Snapshots); n > 0 {
		b.Snapshot, b.SnapshotBytes = m.Snapshots[n-1].Sequence, m.Snapshots[n-1].Size
	}
	if at.Sequence <= m.LatestSequence { // else what lies beyond may be earlier
		b.Earliest = earliestIn(m)
	}
	return b
}

// align notes that the bucket has the file's log up to at. That may be less than
// the books say: before a barrier that the bucket has without its snapshot. What
// follows is sent again, and the snapshot with it.
func (s *Syncer) align(ctx context.Context, c Comparison) error {
	m, at := c.stored.Manifest, c.at
	known, barrier := maps.Clone(s.digests.Known), s.books.Barrier
	if at.Sequence < s.books.Acked {
		known = digest.Set{}
	} else if err := s.follow(at.Sequence, s.books.Acked, &barrier, known); err != nil {
		return err
	}
	b, d := booksAt(m, at, barrier), changelog.Digests{Known: known, Told: s.digests.Told}
	b.BytesSince = s.books.BytesSince
	if c.stored.ETag() == s.books.Manifest && at.Sequence == s.books.Acked {
		b.Manifest, b.Group = s.books.Manifest, s.books.Group
	}
	beyond, err := s.log.Earliest(m.LatestSequence, at.Sequence)
	if err != nil {
		return err
	}
	b.Earliest = min(beyond, earliestIn(m))
	if at.Sequence != s.books.Acked {
		d.Told = digest.Set{} // what those batches told is not known any more
	}
	if b == s.books {
		return nil
	}
	return s.record(ctx, b, d)
}

// catchUp brings the file up to date, and leaves on trail how it came there.
//
// While it does so, a writer that is alive stores more: so it looks again for as long
// as there is less than half as much as the time before; not in a hurry, when that
// writer has been faster once already.
func (s *Syncer) catchUp(ctx context.Context, c Comparison, trail *remote.Trail, hurry bool) (err error) {
	m, at := c.stored.Manifest, c.at
	known, barrier := maps.Clone(s.digests.Known), s.books.Barrier
	if err := s.follow(at.Sequence, s.books.Acked, &barrier, known); err != nil {
		return err
	}
	conn, err := s.cfg.Writer()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	trail.Add(m, at)
	step := restore.CatchUp{
		Bucket: s.cfg.Bucket, Manifest: m, Conn: conn, From: at, Digests: s.unsaved.digests, Known: known,
		Books:     func(at remote.Position) changelog.Books { return booksAt(m, at, barrier) },
		StandBack: s.cfg.StandBack,
		Moved: func(b changelog.Books, d changelog.Digests) {
			s.keep(b, d)
			s.saved(d)
			s.cfg.Advance(b.Acked)
			trail.Add(m, remote.Position{Sequence: b.Acked, Chain: b.Chain})
		},
	}
	for limit := int64(math.MaxInt64); err == nil; {
		at, err = step.Run(ctx)
		grown := at.Sequence - step.From.Sequence
		if hurry || grown == 0 || grown >= limit {
			break
		}
		step.From, step.Digests, step.Known, limit = at, s.unsaved.digests, s.digests.Known, grown/2
	}
	if at != c.at {
		s.unsummed = true
		s.event("brought the file up to date with the bucket", "from", c.at.Sequence, "to", at.Sequence)
	}
	return err
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
	b := changelog.Books{Snapshot: -1, Chain: segment.Genesis(s.log.Identity().DatabaseID), Earliest: changelog.NoTime, Synced: 1}
	d := changelog.Digests{Known: digest.Set{}, Told: digest.Set{}}
	if first > 1 {
		b.Acked, b.Chain, b.Barrier = s.books.Acked, s.books.Chain, s.books.Acked
		d.Known = s.digests.Known
	}
	s.cfg.Logger.Warn("the bucket has nothing under this name although this file has sent it changes; a new backup begins", "scope", "sync", "name", s.log.Identity().Name, "sent", s.books.Acked)
	return s.record(ctx, b, d)
}
