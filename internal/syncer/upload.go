package syncer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/segment"
)

// pipeline is how many batches are on their way at once.
const pipeline = 4

// parcel is a batch on its way to the bucket.
type parcel struct {
	job     changelog.Job
	name    remote.Batch
	end     segment.Trailer
	barrier int64 // the last one up to the batch's end
	stored  chan error
}

// upload stores the log up to target, which is the end of a transaction, or
// further. A backlog goes up as several batches at once. They are claimed and
// acknowledged in their order: if one fails, those behind it count for nothing,
// and are found to be there already when their turn comes again.
func (s *Syncer) upload(ctx context.Context, target int64) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	at := remote.Position{Sequence: s.books.Acked, Chain: s.books.Chain}
	barrier := s.books.Barrier
	var flying []*parcel
	for at.Sequence < target || len(flying) > 0 {
		if at.Sequence < target && len(flying) < pipeline {
			p, sealed, err := s.pack(ctx, at, barrier)
			if err != nil {
				return err
			}
			wg.Go(func() { p.stored <- s.cfg.Bucket.PutBatch(ctx, s.log.Identity().DatabaseID, p.name, sealed) })
			at, barrier = remote.Position{Sequence: p.end.To, Chain: p.end.Head}, p.barrier
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
func (s *Syncer) pack(ctx context.Context, at remote.Position, barrier int64) (*parcel, []byte, error) {
	id := s.log.Identity()
	header := segment.Header{NodeID: s.node, Epoch: s.epoch, From: at.Sequence + 1, Prev: at.Chain}
	job, end, err := s.plan(ctx, header)
	if err != nil {
		return nil, nil, fmt.Errorf("plan a batch from sequence %d: %w", header.From, err)
	}
	if barrier, err = s.lastBarrier(job.From, job.To, barrier); err != nil {
		return nil, nil, err
	}
	var sealed bytes.Buffer
	w, err := s.cfg.Bucket.SealBatch(&sealed, id.DatabaseID, job.Object)
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.log.WriteBatch(w, header, job.To, s.cfg.Limits); err != nil {
		return nil, nil, fmt.Errorf("encode sequences %d-%d: %w", job.From, job.To, err)
	}
	if err := w.Close(); err != nil {
		return nil, nil, err
	}
	name := remote.Batch{NodeID: s.node, From: job.From, To: job.To, Epoch: s.epoch, Size: int64(sealed.Len())}
	return &parcel{job: job, name: name, end: end, barrier: barrier, stored: make(chan error, 1)}, sealed.Bytes(), nil
}

// plan finds where the batch ends, and claims it: a job that failed before in
// this session has its end already.
func (s *Syncer) plan(ctx context.Context, h segment.Header) (changelog.Job, segment.Trailer, error) {
	jobs, err := s.log.Jobs(changelog.Upload)
	if err != nil {
		return changelog.Job{}, segment.Trailer{}, err
	}
	for _, j := range jobs {
		if j.Epoch == h.Epoch && j.From == h.From {
			end, err := s.log.WriteBatch(io.Discard, h, j.To, s.cfg.Limits)
			return j, end, err
		}
	}
	end, err := s.log.WriteBatch(io.Discard, h, 0, s.cfg.Limits)
	if err != nil {
		return changelog.Job{}, end, err
	}
	name := remote.Batch{NodeID: h.NodeID, From: h.From, To: end.To, Epoch: h.Epoch}
	job := []changelog.Job{{Kind: changelog.Upload, Epoch: h.Epoch, From: h.From, To: end.To, Object: remote.BatchKey(s.cfg.Bucket.Name(), name)}}
	err = s.exclusive(ctx, func() error { return s.log.Claim(job) })
	return job[0], end, err
}

// acknowledge writes into the books that a batch is in the bucket.
func (s *Syncer) acknowledge(ctx context.Context, p *parcel) error {
	b := s.books
	b.Barrier, b.Acked, b.Chain = p.barrier, p.job.To, p.end.Head
	b.BytesSince += p.name.Size
	if err := s.exclusive(ctx, func() error { return s.log.Finish(p.job, b) }); err != nil {
		return err
	}
	s.books = b
	s.remember(piece{Batch: p.name})
	s.status.acked.Store(b.Acked)
	s.status.synced.Add(p.job.To - p.job.From + 1)
	s.status.lastSync.Store(time.Now().UnixMilli())
	s.event("uploaded a batch", "from", p.job.From, "to", p.job.To, "bytes", p.name.Size)
	return nil
}

// failed notes that a job's attempt failed, and finds out whether that means
// that somebody else writes.
func (s *Syncer) failed(ctx context.Context, j changelog.Job, cause error) error {
	if errors.Is(cause, remote.ErrLost) {
		return s.fenced(cause)
	}
	return errors.Join(cause, s.exclusive(ctx, func() error { return s.log.Failed(j, cause) }))
}

// lastBarrier is the last barrier in a part of the log, or known if it has
// none.
func (s *Syncer) lastBarrier(from, to, known int64) (int64, error) {
	err := s.log.Each(from, func(t changelog.Transaction) error {
		if t.First > to {
			return changelog.Stop
		}
		return s.log.Entries(t, func(sequence int64, e *change.Entry) error {
			if e.Op == change.Barrier {
				known = sequence
			}
			return nil
		})
	})
	return known, err
}
