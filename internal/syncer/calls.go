package syncer

import (
	"context"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// Flush returns when all that was committed before the call is stored, and the
// manifest says so.
func (s *Syncer) Flush(ctx context.Context) error {
	return s.settled(ctx, request{flush: true})
}

// settled does rounds for r until all that was committed before the call is stored and
// the manifest says so. A snapshot that others have begun is waited for only where
// nothing counts without it.
func (s *Syncer) settled(ctx context.Context, r request) error {
	ctx, cancel := context.WithCancel(ctx) // one of its own: others may call with the same
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

// counts reports whether all up to sequence is confirmed, and needs no snapshot that there
// is not yet.
func (s *Syncer) counts(sequence int64) bool {
	barrier := s.status.barrier.Load()
	return s.status.confirmed.Load() >= sequence && (barrier == 0 || barrier > sequence)
}

// step does one round for r, and returns the task that is under way then.
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

// Snapshot stores a snapshot of all that was committed before the call. One that
// others have begun counts if all of that is in it.
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
			continue // what it had begun was of no use
		}
		if err := t.wait(ctx); err != nil {
			return snap, err
		}
	}
}

// stepTo does one round towards a snapshot of all up to through. It returns that, if
// it is the one of last, a task that has ended; else the task to wait for.
func (s *Syncer) stepTo(ctx context.Context, through int64, last *task) (snap remote.Snapshot, next *task, err error) {
	if err := s.acquire(ctx); err != nil {
		return snap, nil, err
	}
	defer s.release()
	bound, done := s.bound(ctx)
	defer done()
	if !last.isNamed() { // by somebody else's round
		err = s.work(bound, request{parent: ctx, flush: true, snapshot: last == nil})
	}
	if err == nil {
		snap = last.snapshotOf(through)
	}
	return snap, s.snapshots.underway(), err
}

// request is what a caller wants beyond what a tick does.
type request struct {
	parent   context.Context // a task that is started for it lasts no longer
	flush    bool            // the manifest is swapped even if that is not due
	snapshot bool
	collect  bool // a collection follows, which is counted
	leave    bool // the session ends with it
}

// background says that nobody waits for it.
func (r request) background() bool { return !r.flush && !r.snapshot && !r.collect }

// Collect deletes now what the next collection would delete, and returns how
// much that was.
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
		return 0, 0, nil // what that has stored is not named yet, and may be older than the grace time
	}
	return s.compact.collect(ctx)
}

// Check compares the file with its bucket. It does not wait for a bucket that is away.
// first, if there is one, is how the two were a moment ago. A file that is behind, and has
// nothing of its own, is brought up to date. Who writes the bucket stays what it is.
//
// ErrDiverged means that the file does not continue what the bucket has;
// restore.ErrCannotCatchUp that it must be restored, and nothing in it is lost by
// that. After other errors a later round looks again.
func (s *Syncer) Check(ctx context.Context, first *Comparison) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	return s.epoch.check(ctx, s.cfg.Direct, first)
}

// CheckLater says that nobody has compared file and bucket: the loop does it as
// soon as the bucket answers. It is called before Start.
func (s *Syncer) CheckLater() { s.epoch.checkLater() }

// TakeOver gives this session an epoch before its first change, because another node
// was the writer: what that, or another one yet, stores later would make this file
// diverge. Whoever is at work is waited for no longer than patience, and the bucket not
// long either: without an answer the change is made all the same, and the epoch is taken
// with its upload.
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
	err := s.epoch.acquire(ctx, s.cfg.Direct, s.uploads.entry(request{}, s.books.Acked))
	s.cfg.Contest(false)
	if err != nil && s.broken == nil && ctx.Err() == nil {
		s.report(err)
		return nil
	}
	return err
}

// Collapse gives up what the log has not sent: a barrier takes its place, and a
// snapshot follows when the bucket can be reached. What jobs have fixed stays.
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
