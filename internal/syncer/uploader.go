package syncer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// uploader stores the log in batches.
type uploader struct {
	*state
	epoch   *epoch
	compact *compactor
}

// ship uploads what was committed up to target. If another writer's object already has
// the name of a batch, the session continues under a new epoch, and so with new names.
func (u *uploader) ship(ctx context.Context, target int64) error {
	err := u.upload(ctx, target)
	if !errors.Is(err, remote.ErrTaken) {
		return err
	}
	u.cfg.Logger.Warn(event.EpochRenewed, "another writer has stored an object under the name of this session's next batch; the session continues under a new epoch",
		"error", err)
	if err := u.epoch.renew(ctx); err != nil {
		return err
	}
	return u.upload(ctx, target)
}

// pipeline is how many batches are uploaded at once.
const pipeline = 4

// inFlight is a batch that is being uploaded.
type inFlight struct {
	job    changelog.Job
	name   remote.Batch
	from   remote.Position // before it
	next   cursor          // behind it
	began  time.Time       // when it was ready to be sent
	stored chan error
}

// upload stores the log up to target, which is the end of a transaction, or further. A
// backlog is uploaded as several batches at once. They are claimed and acknowledged in
// order: if one fails, those after it are not acknowledged, and a later upload finds
// that they already exist.
func (u *uploader) upload(ctx context.Context, target int64) error {
	if err := u.epoch.announce(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	at := u.here()
	var flying []*inFlight
	for at.Sequence < target || len(flying) > 0 {
		if at.Sequence < target && len(flying) < pipeline {
			p, sealed, err := u.pack(ctx, at, target)
			if err != nil {
				return err
			}
			wg.Go(func() { p.stored <- u.cfg.Bucket.PutBatch(ctx, u.log.Identity().DatabaseID, p.name, sealed) })
			at = p.next
			flying = append(flying, p)
			continue
		}
		p := flying[0]
		flying = flying[1:]
		if err := <-p.stored; err != nil {
			return u.failed(ctx, p.job, fmt.Errorf("upload %s: %w", p.job.Object, err))
		}
		if err := u.acknowledge(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// pack makes the batch after at. Its job is fixed and on disk before anything is sent,
// so that after a crash or a lost response the bucket can hold only this range.
func (u *uploader) pack(ctx context.Context, at cursor, target int64) (*inFlight, []byte, error) {
	d, job, err := u.draftAfter(at, target)
	if err == nil && job.To == 0 {
		job, err = u.claim(ctx, u.jobOf(d))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("create a batch from sequence %d: %w", at.Sequence+1, err)
	}
	return u.seal(d, at, job)
}

// draftAfter makes the batch after at, except for the steps that need its name. If an
// earlier attempt in this session failed, its job has already fixed where the batch ends.
func (u *uploader) draftAfter(at cursor, target int64) (d *draft, job changelog.Job, err error) {
	unpin, err := u.log.Pin() // else each read of the log would reload a changed schema
	if err != nil {
		return nil, job, err
	}
	defer unpin()
	if job, _, err = u.claimed(at.Sequence + 1); err != nil {
		return nil, job, err
	}
	d, err = u.draft(at, at.Position, batch.Header{NodeID: u.session.node, Epoch: u.session.epoch}, job.To, target)
	return d, job, err
}

// draft is a batch that has no name yet. The name includes where the batch ends. Only
// encryption needs the name.
type draft struct {
	changelog.Packed
	from       remote.Position // before it
	name       remote.Batch
	compressed bytes.Buffer
}

// draft reads the log after from. That is at, or an earlier position if the batch repeats
// entries that other batches hold. The draft ends at sequence to or, if to is 0, where
// the limits end it. It carries the digests that are new or, if it repeats entries, all
// of them.
func (u *uploader) draft(at cursor, from remote.Position, h batch.Header, to, target int64) (*draft, error) {
	h.From, h.Prev = from.Sequence+1, from.Chain
	start := changelog.Start{Header: h, Acked: at.Sequence, Digests: at.digests}
	if from != at.Position {
		start.Told = digest.Set{}
	}
	limits := u.cfg.Limits
	limits.Through = target // or a batch would never end while others commit faster than it is read
	d := &draft{from: from}
	w, err := u.cfg.Bucket.CompressBatch(&d.compressed)
	if err != nil {
		return nil, err
	}
	if d.Packed, err = u.log.Pack(w, start, to, limits); err == nil {
		err = w.Close()
	}
	d.name = remote.Batch{NodeID: h.NodeID, Epoch: h.Epoch, From: h.From, To: d.To}
	return d, err
}

// jobOf returns the job that claims d.
func (u *uploader) jobOf(d *draft) changelog.Job {
	return changelog.Job{Kind: changelog.Upload, Epoch: d.name.Epoch, From: d.name.From, To: d.name.To, Object: remote.BatchKey(u.cfg.Bucket.Name(), d.name)}
}

// seal encrypts d, which was drafted at this cursor, into the object that job names.
func (u *uploader) seal(d *draft, at cursor, job changelog.Job) (*inFlight, []byte, error) {
	sealed, err := u.cfg.Bucket.EncryptBatch(d.compressed.Bytes(), u.log.Identity().DatabaseID, job.Object)
	if err != nil {
		return nil, nil, err
	}
	u.unsummed = u.unsummed || d.Altered
	d.name.Size = int64(len(sealed))
	next := cursor{
		Position: remote.Position{Sequence: d.To, Chain: d.Chain}, barrier: cmp.Or(d.Barrier, at.barrier), earliest: d.Earliest,
		digests: changelog.Digests{Known: d.Known, Told: d.Known}, // by this batch
	}
	return &inFlight{job: job, name: d.name, from: d.from, next: next, began: time.Now(), stored: make(chan error, 1)}, sealed, nil
}

// acknowledge records in the books that a batch is in the bucket.
func (u *uploader) acknowledge(ctx context.Context, p *inFlight) error {
	b := u.books
	b.Barrier, b.Acked, b.Chain = p.next.barrier, p.next.Sequence, p.next.Chain
	b.BytesSince += p.name.Size
	b.Group = changelog.Group{}
	if spans := u.epoch.current().Lineage; spans[len(spans)-1].From == p.name.From { // it is the session's first batch
		b.Group = p.group()
	}
	b.Earliest = min(b.Earliest, p.next.earliest)
	if err := u.record(ctx, b, p.next.digests, p.job); err != nil {
		return err
	}
	u.unsaved.fixed = slices.DeleteFunc(u.unsaved.fixed, func(j changelog.Job) bool { return j.From == p.job.From })
	u.compact.remember(candidate{Batch: p.name})
	u.sent(p)
	return nil
}

// group describes the batch as one that the next session may replace. It is empty for a
// large batch, so that the log need not keep its entries.
func (p *inFlight) group() changelog.Group {
	if p.name.Size >= remote.GroupBelow {
		return changelog.Group{}
	}
	return changelog.Group{Object: p.job.Object, After: p.from.Sequence, Chain: p.from.Chain, Bytes: p.name.Size}
}

// sent reports that a batch is in the bucket.
func (u *uploader) sent(p *inFlight) {
	u.status.synced.Add(p.job.To - p.job.From + 1)
	u.status.lastSync.Store(time.Now().UnixMilli())
	u.event(event.BatchUploaded, "uploaded a batch", "from", p.job.From, "to", p.job.To, "bytes", p.name.Size, "took", time.Since(p.began))
}

// failed records that a job's attempt failed. If the cause shows that another writer has
// taken over, the session is fenced.
func (u *uploader) failed(ctx context.Context, j changelog.Job, cause error) error {
	if errors.Is(cause, remote.ErrLost) {
		return u.fenced(cause)
	}
	err := u.commit(ctx, func() error { return u.log.Failed(j, cause) })
	if sqlite.IsFull(err) {
		err = nil // it is only a note
	}
	return errors.Join(cause, err)
}
