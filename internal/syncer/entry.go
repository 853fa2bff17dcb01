package syncer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
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
func (u *uploader) entrances(c Comparison) (out []entrance) {
	m, node := c.stored.Manifest, u.log.Identity().NodeID
	if m == nil || u.unsaved.is || u.books.BarrierOpen() || m.NodeID != node && !m.Released {
		return nil
	}
	g := u.books.Group
	if g.Object != "" && g.After >= u.books.Snapshot && c.stored.ETag() == u.books.Manifest {
		b, ok := u.cfg.Bucket.ParseBatch(g.Object)
		whole := remote.Span{NodeID: b.NodeID, Epoch: b.Epoch, From: g.After + 1}
		if ok && b.To == u.books.Acked && m.Lineage[len(m.Lineage)-1] == whole {
			out = append(out, entrance{remote.Position{Sequence: g.After, Chain: g.Chain}, g})
		}
	}
	return append(out, entrance{Position: remote.Position{Sequence: u.books.Acked, Chain: u.books.Chain}})
}

// entry is how an epoch is taken with a first batch of what is pending up to target.
func (u *uploader) entry(r request, target int64) entry {
	return func(ctx context.Context, b *remote.Bucket, c Comparison) (bool, error) {
		return u.enter(ctx, b, c, r, target)
	}
}

// enter stores what is pending up to target as one batch, and takes the epoch with the
// swap that confirms it. It does nothing where that cannot be.
func (u *uploader) enter(ctx context.Context, b *remote.Bucket, c Comparison, r request, target int64) (entered bool, err error) {
	if target <= u.books.Acked {
		return false, nil
	}
	at := u.here()
	in, d, job, err := u.admit(c, at, target)
	if err != nil || d == nil || d.Barrier != 0 { // that needs a snapshot
		return false, err
	}
	jobs := []changelog.Job{job}
	if g := in.replaces; g.Object != "" {
		old, _ := u.cfg.Bucket.ParseBatch(g.Object)
		jobs = append(jobs, changelog.Job{Kind: changelog.Delete, Epoch: old.Epoch, From: old.From, To: old.To, Object: g.Object, Due: c.stored.Now().UnixMilli()})
	}
	if job.ID != 0 {
		jobs = jobs[:1] // the other one is in the queue as well
	} else if err := u.commit(ctx, func() error { return u.log.Claim(jobs) }); sqlite.IsFull(err) {
		u.noRoom(err)
		return false, nil // a batch whose job is in memory has an epoch first
	} else if err != nil {
		return false, err
	}
	p, sealed, err := u.seal(d, at, jobs[0])
	if err != nil {
		return false, err
	}
	err = b.PutBatch(ctx, u.log.Identity().DatabaseID, p.name, sealed)
	switch {
	case errors.Is(err, remote.ErrLost), errors.Is(err, remote.ErrTaken): // a copy of this file, with this job, or a stranger
		return false, nil
	case err != nil:
		return false, u.failed(ctx, p.job, fmt.Errorf("upload %s: %w", p.job.Object, err))
	}
	return true, u.confirmEntry(ctx, b, c, r, in, p, jobs)
}

// admit drafts the first batch: one that an earlier attempt has claimed, or up to where a
// new one reaches. There is none if what is pending needs more than one batch.
func (u *uploader) admit(c Comparison, at cursor, target int64) (in entrance, d *draft, job changelog.Job, err error) {
	ins := u.entrances(c)
	if len(ins) == 0 {
		return in, nil, job, nil
	}
	unpin, err := u.log.Pin() // or all that reads the log would read the schema, if that has changed
	if err != nil {
		return in, nil, job, err
	}
	defer unpin()
	jobs, err := u.log.Jobs(changelog.Upload)
	if err != nil {
		return in, nil, job, err
	}
	h := batch.Header{NodeID: u.log.Identity().NodeID}
	for _, in := range ins {
		i := slices.IndexFunc(jobs, func(j changelog.Job) bool {
			return j.Epoch > c.stored.Epoch && j.From == in.Sequence+1 && j.To > u.books.Acked && j.To <= target
		})
		if i >= 0 {
			h.Epoch = jobs[i].Epoch
			d, err = u.draft(at, in.Position, h, jobs[i].To, target)
			return in, d, jobs[i], err
		}
	}
	if len(jobs) > 0 { // of a session that is over: take drops it
		return in, nil, job, nil
	}
	h.Epoch = c.stored.Epoch + 1 + rand.Int64N(leap)
	for _, in := range ins {
		d, err := u.draft(at, in.Position, h, 0, target)
		if err != nil {
			return in, nil, job, err
		}
		if d.To == target {
			return in, d, u.jobOf(d), nil
		}
	}
	return in, nil, job, nil
}

// confirmEntry takes the epoch of a batch that is stored, and confirms it. What that has
// taken the place of stays until the next session does the same: a reader may still go by
// the manifest before. What that one had left is deleted.
func (u *uploader) confirmEntry(ctx context.Context, b *remote.Bucket, c Comparison, r request, in entrance, p *inFlight, jobs []changelog.Job) error {
	m, next := c.stored.Clone(), u.books
	next.Acked, next.Chain, next.Earliest = p.next.Sequence, p.next.Chain, min(u.books.Earliest, p.next.earliest)
	next.BytesSince = max(next.BytesSince+p.name.Size-in.replaces.Bytes, 0)
	next.Group = p.group()
	m.Enter(p.name.NodeID, p.name.Epoch, in.Sequence, p.next.Position)
	m.Earliest, m.Released, m.UpdatedAt = told(next.Earliest), r.leave && u.cfg.Sequence() == p.next.Sequence, time.Now().UnixMilli()
	if err := u.measure(m); err != nil {
		return err
	}
	stored, err := b.Swap(ctx, c.stored, m)
	if err != nil {
		return fmt.Errorf("acquire an epoch: %w", err)
	}
	u.sent(p)
	u.epoch.won(stored, p.name.NodeID, next.Acked)
	u.compact.remember(candidate{Batch: p.name})
	done, err := u.compact.deleteReplaced(ctx, in.replaces.Object)
	return errors.Join(err, u.record(ctx, u.epoch.toldBy(stored.Manifest, next), p.next.digests, append(done, jobs[0])...))
}
