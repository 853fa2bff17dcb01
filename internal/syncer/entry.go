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

// A session stores its first batch before it has an epoch, under a randomly drawn epoch
// that no other session can have. No reader sees the batch until the swap that takes the
// epoch confirms it. So a program that writes once and ends needs three requests. If it
// dies between them, it leaves an object that no manifest names. Its job is in the queue,
// and the next session stores the same object and continues, or deletes it.
//
// The only batch of a short session is usually small. The next session replaces it by one
// that holds its entries as well, so that many short sessions leave few objects, and few
// spans in the manifest.

// entrance is where a session's first batch begins.
type entrance struct {
	remote.Position
	replaces changelog.Group
}

// entrances returns the positions where the first batch may begin, the best one first.
// There are none if the session must take its epoch first: the history has a writer that
// may be alive, or does not end with changes that can be confirmed.
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

// entry returns a function that takes an epoch with a first batch of the pending changes
// up to target.
func (u *uploader) entry(r request, target int64) entry {
	return func(ctx context.Context, b *remote.Bucket, c Comparison) (bool, error) {
		return u.enter(ctx, b, c, r, target)
	}
}

// enter stores the pending changes up to target as one batch, and takes the epoch with
// the swap that confirms it. It does nothing if that is impossible.
func (u *uploader) enter(ctx context.Context, b *remote.Bucket, c Comparison, r request, target int64) (entered bool, err error) {
	if target <= u.books.Acked {
		return false, nil
	}
	at := u.here()
	in, d, job, err := u.admit(c, at, target)
	if err != nil || d == nil || d.Barrier != 0 { // a barrier needs a snapshot
		return false, err
	}
	jobs := []changelog.Job{job}
	if g := in.replaces; g.Object != "" {
		old, _ := u.cfg.Bucket.ParseBatch(g.Object)
		jobs = append(jobs, changelog.Job{Kind: changelog.Delete, Epoch: old.Epoch, From: old.From, To: old.To, Object: g.Object, Due: c.stored.Now().UnixMilli()})
	}
	if job.ID != 0 {
		jobs = jobs[:1] // the deletion is already in the queue too
	} else if err := u.commit(ctx, func() error { return u.log.Claim(jobs) }); sqlite.IsFull(err) {
		u.noRoom(err)
		return false, nil // a batch whose job is only in memory needs an epoch first
	} else if err != nil {
		return false, err
	}
	p, sealed, err := u.seal(d, at, jobs[0])
	if err != nil {
		return false, err
	}
	err = b.PutBatch(ctx, u.log.Identity().DatabaseID, p.name, sealed)
	switch {
	case errors.Is(err, remote.ErrLost), errors.Is(err, remote.ErrTaken): // a copy of this file with the same job, or another writer
		return false, nil
	case err != nil:
		return false, u.failed(ctx, p.job, fmt.Errorf("upload %s: %w", p.job.Object, err))
	}
	return true, u.confirmEntry(ctx, b, c, r, in, p, jobs)
}

// admit drafts the first batch: the one that an earlier attempt claimed, or a new one up
// to target. There is none if the pending changes need more than one batch.
func (u *uploader) admit(c Comparison, at cursor, target int64) (in entrance, d *draft, job changelog.Job, err error) {
	ins := u.entrances(c)
	if len(ins) == 0 {
		return in, nil, job, nil
	}
	unpin, err := u.log.Pin() // else each read of the log would reload a changed schema
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
	if len(jobs) > 0 { // from an ended session: take drops them
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

// confirmEntry takes the epoch of a stored batch, and so confirms it. The batch that it
// replaces stays until the next session's entry, since a reader may still use the
// previous manifest. The batch that the last session's entry replaced is deleted.
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
