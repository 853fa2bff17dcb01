package syncer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/segment"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// A session stores its first batch before it has an epoch: under one that it has drawn,
// which nobody else can have. No reader sees the batch until the swap that takes the
// epoch confirms it. So a program that writes once and ends needs three requests, and
// one that dies between them has stored an object that no manifest names: its job is in
// the queue, and the next session stores the same object and goes on, or deletes it.
//
// The batch of a session that has stored no other is small as a rule. The next session
// stores one that holds its entries as well, in its place: so that many short sessions
// leave few objects, and few spans in the manifest.

// groupBelow is the size up to which a batch is replaced by the next session's, in
// bytes: what each session may have to send beside its own.
const groupBelow = 4 << 10

// entrance is where a session's first batch begins.
type entrance struct {
	remote.Position
	replaces changelog.Group
}

// entrances are the places where the first batch may begin, the best one first. There are
// none if the session has to take its epoch first: the history has a writer that may be
// alive, or does not end with what can be confirmed.
func (s *Syncer) entrances(c Comparison) (out []entrance) {
	m, node := c.stored.Manifest, s.log.Identity().NodeID
	if m == nil || s.unsaved.is || s.books.BarrierOpen() || m.NodeID != node && !m.Released {
		return nil
	}
	g := s.books.Group
	if g.Object != "" && g.After >= s.books.Snapshot && c.stored.ETag() == s.books.Manifest {
		b, ok := s.cfg.Bucket.ParseBatch(g.Object)
		whole := remote.Span{NodeID: b.NodeID, Epoch: b.Epoch, From: g.After + 1}
		if ok && b.To == s.books.Acked && m.Lineage[len(m.Lineage)-1] == whole {
			out = append(out, entrance{remote.Position{Sequence: g.After, Chain: g.Chain}, g})
		}
	}
	return append(out, entrance{Position: remote.Position{Sequence: s.books.Acked, Chain: s.books.Chain}})
}

// enter stores what is pending up to target as one batch, and takes the epoch with the
// swap that confirms it. It does nothing where that cannot be.
func (s *Syncer) enter(ctx context.Context, b *remote.Bucket, c Comparison, r request, target int64) (entered bool, err error) {
	if target <= s.books.Acked {
		return false, nil
	}
	in, job, err := s.admit(c, target)
	if err != nil || job.To == 0 {
		return false, err
	}
	jobs := []changelog.Job{job}
	if g := in.replaces; g.Object != "" {
		old, _ := s.cfg.Bucket.ParseBatch(g.Object)
		jobs = append(jobs, changelog.Job{Kind: changelog.Delete, Epoch: old.Epoch, From: old.From, To: old.To, Object: g.Object, Due: c.stored.Now().UnixMilli()})
	}
	if job.ID != 0 {
		jobs = jobs[:1] // the other one is in the queue as well
	} else if err := s.exclusive(ctx, func() error { return s.log.Claim(jobs) }); sqlite.IsFull(err) {
		s.noRoom(err)
		return false, nil // a batch whose job is in memory has an epoch first
	} else if err != nil {
		return false, err
	}
	at := place{Position: remote.Position{Sequence: s.books.Acked, Chain: s.books.Chain}, barrier: s.books.Barrier, digests: s.digests}
	p, sealed, err := s.encode(at, in.Position, s.log.Identity().NodeID, jobs[0])
	if err != nil {
		return false, err
	}
	err = b.PutBatch(ctx, s.log.Identity().DatabaseID, p.name, sealed)
	switch {
	case errors.Is(err, remote.ErrLost), errors.Is(err, remote.ErrTaken): // a copy of this file, with this job, or a stranger
		return false, nil
	case err != nil:
		return false, s.failed(ctx, p.job, fmt.Errorf("upload %s: %w", p.job.Object, err))
	}
	return true, s.confirmEntry(ctx, b, c, r, in, p, jobs)
}

// admit finds the first batch: one that an earlier attempt has claimed, or up to where a
// new one reaches. A job without To says that there is none: what is pending needs a
// snapshot, or more than one batch.
func (s *Syncer) admit(c Comparison, target int64) (in entrance, job changelog.Job, err error) {
	ins := s.entrances(c)
	if len(ins) == 0 {
		return in, job, nil
	}
	unpin, err := s.log.Pin() // or each of what follows would read the schema, if that has changed
	if err != nil {
		return in, job, err
	}
	defer unpin()
	barrier, known := s.books.Barrier, digest.Set{}
	if err := s.follow(target, s.books.Acked, &barrier, known); err != nil || barrier != s.books.Barrier {
		return in, job, err
	}
	jobs, err := s.log.Jobs(changelog.Upload)
	if err != nil {
		return in, job, err
	}
	for _, in := range ins {
		i := slices.IndexFunc(jobs, func(j changelog.Job) bool {
			return j.Epoch > c.stored.Epoch && j.From == in.Sequence+1 && j.To > s.books.Acked && j.To <= target
		})
		if i >= 0 {
			return in, jobs[i], nil
		}
	}
	if len(jobs) > 0 { // of a session that is over: take drops it
		return in, job, nil
	}
	epoch := c.stored.Epoch + 1 + rand.Int64N(leap)
	for _, in := range ins {
		name := remote.Batch{NodeID: s.log.Identity().NodeID, Epoch: epoch, From: in.Sequence + 1}
		_, end, err := s.bounds(segment.Header{NodeID: name.NodeID, Epoch: epoch, From: name.From, Prev: in.Chain}, target)
		if err != nil {
			return in, job, err
		}
		if name.To = end.To; name.To == target {
			return in, changelog.Job{Kind: changelog.Upload, Epoch: epoch, From: name.From, To: name.To, Object: remote.BatchKey(s.cfg.Bucket.Name(), name)}, nil
		}
	}
	return in, job, nil
}

// confirmEntry takes the epoch of a batch that is stored, and confirms it. What that has
// taken the place of stays until the next session does the same: a reader may still go by
// the manifest before. What that one had left is deleted.
func (s *Syncer) confirmEntry(ctx context.Context, b *remote.Bucket, c Comparison, r request, in entrance, p *parcel, jobs []changelog.Job) error {
	m, next := c.stored.Clone(), s.books
	next.Acked, next.Chain, next.Earliest = p.next.Sequence, p.next.Chain, min(s.books.Earliest, p.next.earliest)
	next.BytesSince = max(next.BytesSince+p.name.Size-in.replaces.Bytes, 0)
	next.Group = p.group()
	m.Enter(p.name.NodeID, p.name.Epoch, in.Sequence, p.next.Position)
	m.Earliest, m.Released, m.UpdatedAt = told(next.Earliest), r.leave && s.cfg.Sequence() == p.next.Sequence, time.Now().UnixMilli()
	if err := s.measure(m); err != nil {
		return err
	}
	stored, err := b.Swap(ctx, c.stored, m)
	if err != nil {
		return fmt.Errorf("take an epoch: %w", err)
	}
	s.manifest, s.epoch, s.node, s.pieces = stored, stored.Epoch, p.name.NodeID, nil
	s.cfg.Contest(false)
	s.remember(piece{Batch: p.name})
	s.sent(p)
	s.event(event.EpochTaken, "took an epoch", "epoch", s.epoch, "sequence", next.Acked)
	s.spare = in.replaces.Object
	done, err := s.deleteReplaced(ctx)
	return errors.Join(err, s.record(ctx, s.toldBy(stored.Manifest, next), p.next.digests, append(done, jobs[0])...))
}

// replaced says whether the history has nothing of the session that has stored b: another
// batch has taken its place, or it was stored ahead of an epoch that was never taken.
func (s *Syncer) replaced(b remote.Batch) bool { return !s.manifest.Counts(b) }

// useless says whether a batch that was replaced can be deleted: the history has what it
// holds, and no reader may still go by the manifest before.
func (s *Syncer) useless(b remote.Batch, key string) bool {
	return key != s.spare && b.To <= s.manifest.LatestSequence
}

// deleteReplaced deletes the batches that others have taken the place of, and what was
// stored ahead of epochs that nobody took, but for the one to be spared. It returns the
// jobs that are done.
func (s *Syncer) deleteReplaced(ctx context.Context) (done []changelog.Job, err error) {
	jobs, err := s.log.Jobs(changelog.Delete)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if b, ok := s.cfg.Bucket.ParseBatch(j.Object); ok && s.replaced(b) && s.useless(b, j.Object) && s.remove(ctx, j.Object) == nil {
			done = append(done, j) // else deleteMerged tries again, and tells
		}
	}
	return done, nil
}
