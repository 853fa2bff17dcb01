package syncer

import (
	"context"
	"slices"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// The books and the queue are in the file, in whose transactions they change. When
// another program has filled the disk that cannot be; but what is committed has to
// leave this disk all the more. So the engine goes on with what it knows in memory,
// and writes it down with the first commit that finds room. If the process ends
// before that, the next one, whose epoch is another, finds by comparing what this
// one has stored.

// unsaved is what the engine knows and the file does not.
type unsaved struct {
	is      bool              // there is anything; the file's books and digests are older than ours
	digests changelog.Digests // those that the file has
	done    []changelog.Job   // that the queue still has
	fixed   []changelog.Job   // uploads that it does not have
}

// record makes b and d the books and digests, and takes jobs that are done off the
// queue.
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

// keep notes what the books and the digests are now.
func (s *state) keep(b changelog.Books, d changelog.Digests) {
	s.books, s.digests = b, d
	s.status.acked.Store(b.Acked)
	s.status.confirmed.Store(b.Confirmed)
	s.status.mine.Store(s.mine())
	s.status.barrier.Store(0)
	if b.BarrierOpen() {
		s.status.barrier.Store(b.Barrier)
	}
}

// saved notes that the file has the books, and d.
func (s *state) saved(d changelog.Digests) {
	if s.unsaved.is {
		s.event(event.DiskFreed, "the disk has space again; the file now records what was uploaded in the meantime")
	}
	s.unsaved = unsaved{digests: d, fixed: s.unsaved.fixed}
}

// noRoom notes that there is no room on the disk, and tells so once.
func (s *state) noRoom(err error) {
	if !s.unsaved.is {
		s.cfg.Logger.Warn(event.DiskFull, "the database's disk is full; committed changes are uploaded, and recorded in the file once there is space",
			"path", s.cfg.Path, "error", err)
	}
	s.unsaved.is = true
}

// claim fixes an upload in the queue. When it returns, all that the batch is going
// to hold is on disk.
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

// claimed finds the upload from sequence from that this session has fixed before.
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

// dropUploads clears the queue of uploads of earlier sessions. Their names
// carry an epoch that has ended; what they had stored is found by compare.
func (s *state) dropUploads(ctx context.Context) error {
	s.unsaved.fixed = nil
	jobs, err := s.log.Jobs(changelog.Upload)
	if err != nil || len(jobs) == 0 {
		return err
	}
	return s.record(ctx, s.books, s.digests, jobs...)
}

// disown is dropUploads for a session that is about to take an epoch behind that of
// stored. Uploads under a later one have stored, if anything, what no manifest names:
// that is deleted when the history has the same.
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

// setBooks replaces the books, if they differ.
func (s *state) setBooks(ctx context.Context, b changelog.Books) error {
	if b == s.books {
		return nil
	}
	return s.record(ctx, b, s.digests)
}
