package syncer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/event"
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
	at := place{Position: remote.Position{Sequence: s.books.Acked, Chain: s.books.Chain}, barrier: s.books.Barrier, digests: s.digests}
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

// pack makes the batch after at. The job is fixed and on disk before anything
// is sent: after a crash, or a lost answer, the bucket can hold this range and
// no other.
func (s *Syncer) pack(ctx context.Context, at place, target int64) (*parcel, []byte, error) {
	header := segment.Header{NodeID: s.node, Epoch: s.epoch, From: at.Sequence + 1, Prev: at.Chain}
	job, err := s.plan(ctx, header, target)
	if err != nil {
		return nil, nil, fmt.Errorf("plan a batch from sequence %d: %w", header.From, err)
	}
	return s.encode(at, at.Position, s.node, job)
}

// encode makes the batch of a job, which begins behind from: at, or before it, if the
// batch repeats what others hold. It tells what digests are new, or then all of them.
func (s *Syncer) encode(at place, from remote.Position, node string, job changelog.Job) (*parcel, []byte, error) {
	unpin, err := s.log.Pin() // or each of the three would read the schema, if that has changed
	if err != nil {
		return nil, nil, err
	}
	defer unpin()
	told := at.digests.Told
	if from != at.Position {
		told = digest.Set{}
	}
	next := place{barrier: at.barrier, digests: changelog.Digests{Known: maps.Clone(at.digests.Known)}}
	if next.earliest, err = s.log.Earliest(job.From-1, job.To); err != nil {
		return nil, nil, err
	}
	if err := s.follow(job.To, at.Sequence, &next.barrier, next.digests.Known); err != nil {
		return nil, nil, err
	}
	next.digests.Told = next.digests.Known // by this batch
	header := segment.Header{NodeID: node, Epoch: job.Epoch, From: job.From, Prev: from.Chain}
	var sealed bytes.Buffer
	w, err := s.cfg.Bucket.SealBatch(&sealed, s.log.Identity().DatabaseID, job.Object)
	if err != nil {
		return nil, nil, err
	}
	end, err := s.log.WriteBatch(w, header, job.To, s.cfg.Limits, next.digests.Known.Since(told))
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("encode sequences %d-%d: %w", job.From, job.To, err)
	}
	next.Position = remote.Position{Sequence: end.To, Chain: end.Head}
	name := remote.Batch{NodeID: node, From: job.From, To: job.To, Epoch: job.Epoch, Size: int64(sealed.Len())}
	return &parcel{job: job, name: name, from: from, next: next, stored: make(chan error, 1)}, sealed.Bytes(), nil
}

// plan finds where the batch ends, and claims it: a job that failed before in
// this session has its end already.
func (s *Syncer) plan(ctx context.Context, h segment.Header, target int64) (changelog.Job, error) {
	j, end, err := s.bounds(h, target)
	if err != nil || j.To != 0 {
		return j, err
	}
	name := remote.Batch{NodeID: h.NodeID, From: h.From, To: end.To, Epoch: h.Epoch}
	return s.claim(ctx, changelog.Job{Kind: changelog.Upload, Epoch: h.Epoch, From: h.From, To: end.To, Object: remote.BatchKey(s.cfg.Bucket.Name(), name)})
}

// bounds is the job that is claimed already, or where a new one ends.
func (s *Syncer) bounds(h segment.Header, target int64) (j changelog.Job, end segment.Trailer, err error) {
	unpin, err := s.log.Pin()
	if err != nil {
		return j, end, err
	}
	defer unpin()
	if j, found, err := s.claimed(h.From); err != nil || found {
		return j, end, err
	}
	limits := s.cfg.Limits
	limits.Through = target // or a batch would never end while others commit faster than it is read
	end, err = s.log.WriteBatch(io.Discard, h, 0, limits, nil)
	return j, end, err
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
	s.event(event.BatchUploaded, "uploaded a batch", "from", p.job.From, "to", p.job.To, "bytes", p.name.Size)
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
