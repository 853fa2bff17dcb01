package syncer

import (
	"context"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// Flush returns once everything committed before the call is stored and confirmed by the
// manifest.
func (s *Syncer) Flush(ctx context.Context) error {
	return s.settled(ctx, request{flush: true})
}

// settled does rounds for r until everything committed before the call is stored and
// confirmed. It waits for a snapshot that another caller began only if the changes after
// a barrier need it to be restorable.
func (s *Syncer) settled(ctx context.Context, r request) error {
	ctx, cancel := context.WithCancel(ctx) // identifies this call's task: callers may share a context
	defer cancel()
	r.parent = ctx
	for through := s.cfg.Sequence(); ; {
		t, err := s.step(ctx, r)
		if err != nil || t == nil || t.parent != ctx && s.counts(through) {
			return err
		}
		if err := t.wait(ctx); err != nil {
			return err
		}
	}
}

// counts reports whether everything up to sequence is confirmed and needs no further
// snapshot.
func (s *Syncer) counts(sequence int64) bool {
	barrier := s.status.barrier.Load()
	return s.status.confirmed.Load() >= sequence && (barrier == 0 || barrier > sequence)
}

// step does one round for r, and returns the task that is running afterwards.
func (s *Syncer) step(ctx context.Context, r request) (*task, error) {
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	defer s.release()
	ctx, done := s.bound(ctx)
	defer done()
	err := s.work(ctx, r)
	return s.snapshots.underway(), err
}

// Snapshot stores a snapshot of everything committed before the call. One that another
// caller began will do if it contains all of that.
func (s *Syncer) Snapshot(ctx context.Context) (remote.Snapshot, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var t *task
	for through := s.cfg.Sequence(); ; {
		snap, next, err := s.stepTo(ctx, through, t)
		if err != nil || snap.Key != "" {
			return snap, err
		}
		if t = next; t == nil {
			continue // the last task was dropped, or its snapshot is too old
		}
		if err := t.wait(ctx); err != nil {
			return snap, err
		}
	}
}

// stepTo does one round towards a snapshot of everything up to through. It returns the
// snapshot of last, a task that has ended, if that will do. Otherwise it returns the task
// to wait for.
func (s *Syncer) stepTo(ctx context.Context, through int64, last *task) (snap remote.Snapshot, next *task, err error) {
	if err := s.acquire(ctx); err != nil {
		return snap, nil, err
	}
	defer s.release()
	bound, done := s.bound(ctx)
	defer done()
	if !last.isNamed() { // else another caller's round has named it
		err = s.work(bound, request{parent: ctx, flush: true, snapshot: last == nil})
	}
	if err == nil {
		snap = last.snapshotOf(through)
	}
	return snap, s.snapshots.underway(), err
}

// request is what a caller wants beyond what a tick does.
type request struct {
	parent   context.Context // a task that is started for the request ends with it
	flush    bool            // swap the manifest even if that is not due
	snapshot bool
	collect  bool // Collect follows, and counts what it deletes
	leave    bool // the session ends with this request
	waited   bool // callers of WaitSynced wait for it
}

// background reports whether no caller waits for the request.
func (r request) background() bool { return !r.flush && !r.snapshot && !r.collect }

// Collect runs garbage collection now, and returns how much it deleted.
func (s *Syncer) Collect(ctx context.Context) (objects int, bytes int64, err error) {
	if err := s.settled(ctx, request{flush: true, collect: true}); err != nil {
		return 0, 0, err
	}
	if err := s.acquire(ctx); err != nil {
		return 0, 0, err
	}
	defer s.release()
	ctx, done := s.bound(ctx)
	defer done()
	if s.session.epoch == 0 { // there was nothing to send
		if err := s.epoch.acquire(ctx, s.cfg.Bucket, s.uploads.entry(request{collect: true}, s.books.Acked)); err != nil {
			return 0, 0, err
		}
	}
	if s.snapshots.underway() != nil {
		return 0, 0, nil // its snapshot is not named yet, and may be older than the grace time
	}
	return s.compact.collect(ctx)
}

// Check compares the file with its bucket. It does not wait for an unreachable bucket.
// first, if not nil, is a comparison made a moment ago. Check brings a file up to date
// that is behind and has no changes of its own. It does not change the bucket's writer.
//
// ErrDiverged means that the file does not continue the bucket's history.
// restore.ErrCannotCatchUp means that the file must be restored, which loses nothing.
// After other errors a later round tries again.
func (s *Syncer) Check(ctx context.Context, first *Comparison) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	return s.epoch.check(ctx, s.cfg.Direct, first)
}

// CheckLater makes the loop compare file and bucket as soon as the bucket answers. It
// must be called before Start.
func (s *Syncer) CheckLater() { s.epoch.checkLater() }

// TakeOver gives this session an epoch before its first change, because another node was
// the writer: anything that another node stored later would make this file diverge.
// TakeOver waits at most patience for the token, and not long for the bucket. If either
// is unavailable, the change is made anyway, and its upload takes the epoch.
func (s *Syncer) TakeOver(ctx context.Context, patience time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.acquire(waiting); err != nil {
		if ctx.Err() == nil {
			s.cfg.Contest(false)
			err = nil
		}
		return err
	}
	defer s.release()
	if s.session.epoch != 0 || s.broken != nil {
		return s.broken
	}
	ctx, done := s.bound(ctx)
	defer done()
	began := time.Now()
	err := s.epoch.acquire(ctx, s.cfg.Direct, s.uploads.entry(request{}, s.books.Acked))
	s.cfg.Contest(false)
	if err != nil && s.broken == nil && ctx.Err() == nil {
		s.report(err, time.Since(began))
		return nil
	}
	return err
}

// Collapse replaces the unsent part of the log with a barrier. A snapshot follows when
// the bucket can be reached. Entries that a job has claimed stay.
func (s *Syncer) Collapse(ctx context.Context, reason string) (through int64, err error) {
	if err := s.acquire(ctx); err != nil {
		return 0, err
	}
	defer s.release()
	after := s.books.Acked
	jobs, err := s.log.Jobs(changelog.Upload)
	if err != nil {
		return 0, err
	}
	for _, j := range jobs {
		after = max(after, j.To)
	}
	through, err = s.log.Collapse(after, reason, func(commit func() error) error { return s.commit(ctx, commit) })
	if err != nil {
		return 0, err
	}
	s.Wake()
	return through, s.steps(ctx, func() (bool, error) { return s.log.Sweep(after+1, through) })
}
