package syncer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/segment"
)

// upload stores the next batch of the log. The job is fixed and on disk before
// anything is sent: after a crash, or a lost answer, the bucket can hold this
// range and no other.
func (s *Syncer) upload(ctx context.Context) error {
	id := s.log.Identity()
	header := segment.Header{NodeID: id.NodeID, Epoch: s.epoch, From: s.books.Acked + 1, Prev: s.books.Chain}
	job, end, err := s.plan(ctx, header)
	if err != nil {
		return fmt.Errorf("plan a batch from sequence %d: %w", header.From, err)
	}
	var sealed bytes.Buffer
	w, err := s.cfg.Bucket.SealBatch(&sealed, id.DatabaseID, job.Object)
	if err != nil {
		return err
	}
	if _, err := s.log.WriteBatch(w, header, job.To, s.cfg.Limits); err != nil {
		return fmt.Errorf("encode sequences %d-%d: %w", job.From, job.To, err)
	}
	if err := w.Close(); err != nil {
		return err
	}
	name := remote.Batch{NodeID: id.NodeID, From: job.From, To: job.To, Epoch: s.epoch}
	if err := s.cfg.Bucket.PutBatch(ctx, id.DatabaseID, name, sealed.Bytes()); err != nil {
		return s.failed(ctx, job, fmt.Errorf("upload %s: %w", job.Object, err))
	}
	b := s.books
	if b.Barrier, err = s.lastBarrier(job.From, job.To, b.Barrier); err != nil {
		return err
	}
	b.Acked, b.Chain = job.To, end.Head
	b.BytesSince += int64(sealed.Len())
	if err := s.exclusive(ctx, func() error { return s.log.Finish(job, b) }); err != nil {
		return err
	}
	s.books = b
	s.status.acked.Store(b.Acked)
	s.status.synced.Add(job.To - job.From + 1)
	s.status.lastSync.Store(time.Now().UnixMilli())
	s.event("uploaded a batch", "from", job.From, "to", job.To, "bytes", sealed.Len())
	return nil
}

// plan finds where the batch ends, and claims it: a job that failed before in
// this session has its end already.
func (s *Syncer) plan(ctx context.Context, h segment.Header) (changelog.Job, segment.Trailer, error) {
	jobs, err := s.log.Jobs()
	if err != nil {
		return changelog.Job{}, segment.Trailer{}, err
	}
	for _, j := range jobs {
		if j.Kind == changelog.Upload && j.Epoch == h.Epoch && j.From == h.From {
			end, err := s.log.WriteBatch(io.Discard, h, j.To, s.cfg.Limits)
			return j, end, err
		}
	}
	end, err := s.log.WriteBatch(io.Discard, h, 0, s.cfg.Limits)
	if err != nil {
		return changelog.Job{}, end, err
	}
	name := remote.Batch{NodeID: h.NodeID, From: h.From, To: end.To, Epoch: h.Epoch}
	job := changelog.Job{Kind: changelog.Upload, Epoch: h.Epoch, From: h.From, To: end.To, Object: remote.BatchKey(s.cfg.Bucket.Name(), name)}
	err = s.exclusive(ctx, func() error { job, err = s.log.Claim(job); return err })
	return job, end, err
}

// failed notes that a job's attempt failed, and finds out whether that means
// that somebody else writes.
func (s *Syncer) failed(ctx context.Context, j changelog.Job, cause error) error {
	if errors.Is(cause, remote.ErrLost) {
		return s.fenced(cause)
	}
	return errors.Join(cause, s.exclusive(ctx, func() error { return s.log.Failed(j, cause) }))
}

func (s *Syncer) fenced(cause error) error {
	return s.stop(fmt.Errorf("%w: %w. Changes up to %d are in the bucket; later ones are only in this file", ErrFenced, cause, s.books.Acked))
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

// confirm swaps the manifest, so that it names what the bucket has. With a
// snapshot it names that as well.
func (s *Syncer) confirm(ctx context.Context, snap *remote.Snapshot) error {
	if s.books.BarrierOpen() && snap == nil {
		return nil // beyond a barrier nothing counts without a snapshot, which is due
	}
	m := s.manifest.Clone()
	m.LatestSequence, m.ChainHead = s.books.Acked, s.books.Chain
	if snap != nil {
		m.AddSnapshot(*snap)
	}
	next, err := s.swap(ctx, s.manifest, m)
	if errors.Is(err, remote.ErrLost) {
		return s.fenced(err)
	}
	if err != nil {
		return fmt.Errorf("replace the manifest: %w", err)
	}
	s.manifest = next
	return s.confirmed(ctx)
}

func (s *Syncer) swap(ctx context.Context, prev remote.Stored, m *remote.Manifest) (remote.Stored, error) {
	m.UpdatedAt = time.Now().UnixMilli()
	return s.cfg.Bucket.Swap(ctx, prev, m)
}

// confirmed writes into the books what the manifest now says.
func (s *Syncer) confirmed(ctx context.Context) error {
	s.swapped = time.Now()
	b := s.books
	b.Confirmed = s.manifest.LatestSequence
	if n := len(s.manifest.Snapshots); n > 0 {
		last := s.manifest.Snapshots[n-1]
		if b.Snapshot != last.Sequence {
			b.Snapshot, b.SnapshotBytes, b.BytesSince = last.Sequence, last.Size, 0
		}
	}
	if err := s.setBooks(ctx, b); err != nil {
		return err
	}
	s.status.confirmed.Store(b.Confirmed)
	return nil
}

func (s *Syncer) setBooks(ctx context.Context, b changelog.Books) error {
	if b == s.books {
		return nil
	}
	if err := s.exclusive(ctx, func() error { return s.log.SetBooks(b) }); err != nil {
		return err
	}
	s.books = b
	s.status.acked.Store(b.Acked)
	s.status.confirmed.Store(b.Confirmed)
	return nil
}

func (s *Syncer) exclusive(ctx context.Context, fn func() error) error {
	return s.cfg.Exclusive(ctx, fn)
}
