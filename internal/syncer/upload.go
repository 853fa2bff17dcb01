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

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/segment"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// pipeline is how many batches are on their way at once.
const pipeline = 4

// place is where a batch begins: what the books say when all before it has been
// acknowledged.
type place struct {
	remote.Position
	barrier  int64
	digests  changelog.Digests
	earliest int64 // of the times in the batch before it
}

// here is the place behind all that has been acknowledged.
func (s *Syncer) here() place {
	return place{Position: remote.Position{Sequence: s.books.Acked, Chain: s.books.Chain}, barrier: s.books.Barrier, digests: s.digests}
}

// parcel is a batch on its way to the bucket.
type parcel struct {
	job    changelog.Job
	name   remote.Batch
	from   remote.Position // before it
	next   place           // behind it
	stored chan error
}

// upload stores the log up to target, which is the end of a transaction, or
// further. A backlog goes up as several batches at once. They are claimed and
// acknowledged in their order: if one fails, those behind it count for nothing,
// and are found to be there already when their turn comes again.
func (s *Syncer) upload(ctx context.Context, target int64) error {
	if err := s.announce(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	at := s.here()
	var flying []*parcel
	for at.Sequence < target || len(flying) > 0 {
		if at.Sequence < target && len(flying) < pipeline {
			p, sealed, err := s.pack(ctx, at, target)
			if err != nil {
				return err
			}
			wg.Go(func() { p.stored <- s.cfg.Bucket.PutBatch(ctx, s.log.Identity().DatabaseID, p.name, sealed) })
			at = p.next
			flying = append(flying, p)
			continue
		}
		p := flying[0]
		flying = flying[1:]
		if err := <-p.stored; err != nil {
			return s.failed(ctx, p.job, fmt.Errorf("upload %s: %w", p.job.Object, err))
		}
		if err := s.acknowledge(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// pack makes the batch after at. Its job is fixed and on disk before anything is sent:
// after a crash, or a lost answer, the bucket can hold this range and no other.
func (s *Syncer) pack(ctx context.Context, at place, target int64) (*parcel, []byte, error) {
	d, job, err := s.draftAfter(at, target)
	if err == nil && job.To == 0 {
		job, err = s.claim(ctx, s.jobOf(d))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make a batch from sequence %d: %w", at.Sequence+1, err)
	}
	return s.seal(d, at, job)
}

// draftAfter makes the batch after at as far as that can be without its name. A job that
// failed before in this session has its end already.
func (s *Syncer) draftAfter(at place, target int64) (d *draft, job changelog.Job, err error) {
	unpin, err := s.log.Pin() // or all that reads the log would read the schema, if that has changed
	if err != nil {
		return nil, job, err
	}
	defer unpin()
	if job, _, err = s.claimed(at.Sequence + 1); err != nil {
		return nil, job, err
	}
	d, err = s.draft(at, at.Position, segment.Header{NodeID: s.node, Epoch: s.epoch}, job.To, target)
	return d, job, err
}

// draft is a batch before it has a name, which says where it ends: to encrypt it needs
// the name, all else does not.
type draft struct {
	changelog.Packed
	from       remote.Position // before it
	name       remote.Batch
	compressed bytes.Buffer
}

// draft reads the log behind from: at, or before it, if the batch repeats what others
// hold. It reaches up to sequence to or, when to is 0, as far as the limits allow, and
// tells what digests are new, or then all of them.
func (s *Syncer) draft(at place, from remote.Position, h segment.Header, to, target int64) (*draft, error) {
	h.From, h.Prev = from.Sequence+1, from.Chain
	start := changelog.Start{Header: h, Acked: at.Sequence, Digests: at.digests}
	if from != at.Position {
		start.Told = digest.Set{}
	}
	limits := s.cfg.Limits
	limits.Through = target // or a batch would never end while others commit faster than it is read
	d := &draft{from: from}
	w, err := s.cfg.Bucket.CompressBatch(&d.compressed)
	if err != nil {
		return nil, err
	}
	if d.Packed, err = s.log.Pack(w, start, to, limits); err == nil {
		err = w.Close()
	}
	d.name = remote.Batch{NodeID: h.NodeID, Epoch: h.Epoch, From: h.From, To: d.To}
	return d, err
}

// jobOf is the job that d is to be claimed by.
func (s *Syncer) jobOf(d *draft) changelog.Job {
	return changelog.Job{Kind: changelog.Upload, Epoch: d.name.Epoch, From: d.name.From, To: d.name.To, Object: remote.BatchKey(s.cfg.Bucket.Name(), d.name)}
}

// seal makes d, which was drafted at this place, the object of its job.
func (s *Syncer) seal(d *draft, at place, job changelog.Job) (*parcel, []byte, error) {
	sealed, err := s.cfg.Bucket.EncryptBatch(d.compressed.Bytes(), s.log.Identity().DatabaseID, job.Object)
	if err != nil {
		return nil, nil, err
	}
	s.unsummed = s.unsummed || d.Altered
	d.name.Size = int64(len(sealed))
	next := place{
		Position: remote.Position{Sequence: d.To, Chain: d.Chain}, barrier: cmp.Or(d.Barrier, at.barrier), earliest: d.Earliest,
		digests: changelog.Digests{Known: d.Known, Told: d.Known}, // by this batch
	}
	return &parcel{job: job, name: d.name, from: d.from, next: next, stored: make(chan error, 1)}, sealed, nil
}

// acknowledge writes into the books that a batch is in the bucket.
func (s *Syncer) acknowledge(ctx context.Context, p *parcel) error {
	b := s.books
	b.Barrier, b.Acked, b.Chain = p.next.barrier, p.next.Sequence, p.next.Chain
	b.BytesSince += p.name.Size
	b.Group = changelog.Group{}
	if spans := s.manifest.Lineage; spans[len(spans)-1].From == p.name.From { // it is the session's first batch
		b.Group = p.group()
	}
	b.Earliest = min(b.Earliest, p.next.earliest)
	if err := s.record(ctx, b, p.next.digests, p.job); err != nil {
		return err
	}
	s.unsaved.fixed = slices.DeleteFunc(s.unsaved.fixed, func(j changelog.Job) bool { return j.From == p.job.From })
	s.remember(piece{Batch: p.name})
	s.sent(p)
	return nil
}

// group is the batch as one that the next session may replace. Of a large one the log
// need not keep what it holds.
func (p *parcel) group() changelog.Group {
	if p.name.Size >= groupBelow {
		return changelog.Group{}
	}
	return changelog.Group{Object: p.job.Object, After: p.from.Sequence, Chain: p.from.Chain, Bytes: p.name.Size}
}

// sent tells that a batch is in the bucket.
func (s *Syncer) sent(p *parcel) {
	s.status.synced.Add(p.job.To - p.job.From + 1)
	s.status.lastSync.Store(time.Now().UnixMilli())
	s.event("uploaded a batch", "from", p.job.From, "to", p.job.To, "bytes", p.name.Size)
}

// failed notes that a job's attempt failed, and finds out whether that means
// that somebody else writes.
func (s *Syncer) failed(ctx context.Context, j changelog.Job, cause error) error {
	if errors.Is(cause, remote.ErrLost) {
		return s.fenced(cause)
	}
	err := s.exclusive(ctx, func() error { return s.log.Failed(j, cause) })
	if sqlite.IsFull(err) {
		err = nil // it is only a note
	}
	return errors.Join(cause, err)
}

// follow goes over the log from behind sequence after up to sequence to, notes
// the last barrier, and brings digests forward.
func (s *Syncer) follow(to, after int64, barrier *int64, known digest.Set) error {
	return s.log.Between(after+1, to, func(t changelog.Transaction) error {
		return s.log.Entries(t, func(sequence int64, e *change.Entry) error {
			known.Apply(e)
			switch e.Op {
			case change.Barrier:
				*barrier, s.unsummed = sequence, true
			case change.Schema:
				s.unsummed = true
			}
			return nil
		})
	})
}
