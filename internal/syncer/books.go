package syncer

import (
	"context"
	"slices"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// The books and the queue are kept in the file, and change in its transactions. That is
// impossible while the disk is full, which is when uploading committed changes matters
// most. So the engine continues with the books in memory, and saves them with the first
// commit that finds room. If the process ends before that, the next session, which has
// another epoch, compares file and bucket to see what this one has stored.

// unsaved is what the engine knows and the file does not record yet.
type unsaved struct {
	is      bool              // the file's books and digests are older than those in memory
	digests changelog.Digests // as the file has them
	done    []changelog.Job   // done jobs that are still in the queue
	fixed   []changelog.Job   // claimed uploads that are not in the queue
}

// record saves b and d as the books and digests, and removes done jobs from the queue.
func (s *state) record(ctx context.Context, b changelog.Books, d changelog.Digests, done ...changelog.Job) error {
	done = slices.Concat(s.unsaved.done, done)
	err := s.commit(ctx, func() error { return s.log.Save(done, b, s.unsaved.digests, d) })
	switch {
	case err == nil:
		s.saved(d)
	case sqlite.IsFull(err):
		s.noRoom(err)
		s.unsaved.done = done
	default:
		return err
	}
	s.keep(b, d)
	return nil
}

// keep sets the books and the digests in memory.
func (s *state) keep(b changelog.Books, d changelog.Digests) {
	s.books, s.digests = b, d
	s.status.acked.Store(b.Acked)
	s.status.confirmed.Store(b.Confirmed)
	s.status.mine.Store(s.mine())
	s.status.barrier.Store(0)
	if b.BarrierOpen() {
		s.status.barrier.Store(b.Barrier)
	}
	if b.Acked < s.vouched.Sequence { // the bucket has lost it
		s.vouched = remote.Position{}
	}
	s.arrived()
}

// saved records that the file has the current books, and d.
func (s *state) saved(d changelog.Digests) {
	if s.unsaved.is {
		s.event(event.DiskFreed, "the disk has space again; the file now records what was uploaded in the meantime")
	}
	s.unsaved = unsaved{digests: d, fixed: s.unsaved.fixed}
}

// noRoom records that the disk is full, and reports it once.
func (s *state) noRoom(err error) {
	if !s.unsaved.is {
		s.cfg.Logger.Warn(event.DiskFull, "the database's disk is full; committed changes are uploaded, and recorded in the file once there is space",
			"path", s.cfg.Path, "error", err)
	}
	s.unsaved.is = true
}

// claim fixes an upload in the queue. When it returns, all changes that the batch will
// hold are on disk.
func (s *state) claim(ctx context.Context, j changelog.Job) (changelog.Job, error) {
	jobs := []changelog.Job{j}
	err := s.commit(ctx, func() error { return s.log.Claim(jobs) })
	if !sqlite.IsFull(err) {
		return jobs[0], err
	}
	s.noRoom(err)
	if err := s.log.Sync(); err != nil {
		return j, err
	}
	s.unsaved.fixed = append(s.unsaved.fixed, j)
	return j, nil
}

// claimed finds the upload from sequence from that this session has already claimed.
func (s *state) claimed(from int64) (j changelog.Job, found bool, err error) {
	jobs, err := s.log.Jobs(changelog.Upload)
	if err != nil {
		return j, false, err
	}
	jobs = slices.DeleteFunc(jobs, func(j changelog.Job) bool {
		return slices.ContainsFunc(s.unsaved.done, func(d changelog.Job) bool { return d.ID == j.ID })
	})
	jobs = append(jobs, s.unsaved.fixed...)
	i := slices.IndexFunc(jobs, func(j changelog.Job) bool { return j.Epoch == s.session.epoch && j.From == from })
	if i < 0 {
		return j, false, nil
	}
	return jobs[i], true, nil
}

// dropUploads removes the uploads of earlier sessions from the queue. Their names carry an
// epoch that has ended. compare finds out what they stored.
func (s *state) dropUploads(ctx context.Context) error {
	s.unsaved.fixed = nil
	jobs, err := s.log.Jobs(changelog.Upload)
	if err != nil || len(jobs) == 0 {
		return err
	}
	return s.record(ctx, s.books, s.digests, jobs...)
}

// disown is dropUploads for a session that is about to take an epoch after that of
// stored. Uploads under a later epoch can have stored only objects that no manifest
// names. They are deleted once the history has the same entries.
func (s *state) disown(ctx context.Context, stored remote.Stored) error {
	jobs, err := s.log.Jobs(changelog.Upload)
	if err != nil {
		return err
	}
	var orphans []changelog.Job
	for _, j := range jobs {
		if stored.Manifest != nil && j.Epoch > stored.Epoch {
			j.Kind, j.Due = changelog.Delete, stored.Now().UnixMilli()
			orphans = append(orphans, j)
		}
	}
	if len(orphans) > 0 {
		if err := s.commit(ctx, func() error { return s.log.Claim(orphans) }); err != nil && !sqlite.IsFull(err) {
			return err
		}
	}
	return s.dropUploads(ctx)
}

// setBooks saves b as the books, if they differ.
func (s *state) setBooks(ctx context.Context, b changelog.Books) error {
	if b == s.books {
		return nil
	}
	return s.record(ctx, b, s.digests)
}
