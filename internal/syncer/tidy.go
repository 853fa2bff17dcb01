package syncer

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// mergeCount batches that each take less than mergeBelow bytes are merged into
// one; as many merged ones are merged again. Each entry is so rewritten a few
// times at most, and a restore has few objects to ask for.
const (
	mergeCount = 64
	mergeBelow = 256 << 10
)

// piece is a batch of this session.
type piece struct {
	remote.Batch
	tier int // how often its contents have been merged
}

// remember adds a batch to those that may be merged. A large one parts those
// before it from those after it.
func (s *Syncer) remember(p piece) {
	if p.Size >= mergeBelow {
		s.pieces = nil
		return
	}
	s.pieces = append(s.pieces, p)
}

// mergeable finds the pieces that are to become one: the oldest of the newest
// tier, when there are enough. Only what a manifest has confirmed is merged:
// until then it is not certain to be part of the history.
func (s *Syncer) mergeable() (from, to int, found bool) {
	to = len(s.pieces)
	for to > 0 && s.pieces[to-1].To > s.books.Confirmed {
		to--
	}
	from = to
	for from > 0 && s.pieces[from-1].tier == s.pieces[to-1].tier {
		from--
	}
	return from, from + mergeCount, to-from >= mergeCount
}

// merge makes one batch of many small ones. These are deleted when nobody who
// has listed them can still be reading.
func (s *Syncer) merge(ctx context.Context) error {
	for {
		from, to, found := s.mergeable()
		if !found {
			return nil
		}
		parts := make([]remote.Batch, to-from)
		jobs := make([]changelog.Job, to-from)
		due := s.manifest.Now().Add(remote.Grace).UnixMilli()
		for i, p := range s.pieces[from:to] {
			parts[i] = p.Batch
			jobs[i] = changelog.Job{Kind: changelog.Delete, Epoch: p.Epoch, From: p.From, To: p.To, Object: remote.BatchKey(s.cfg.Bucket.Name(), p.Batch), Due: due}
		}
		whole, err := s.cfg.Bucket.Merge(ctx, s.log.Identity().DatabaseID, parts)
		if errors.Is(err, remote.ErrTaken) {
			s.pieces = s.pieces[from+1:] // another range has another name
			continue
		}
		if err != nil {
			return err
		}
		if err := s.exclusive(ctx, func() error { return s.log.Claim(jobs) }); err != nil {
			return err
		}
		rest := slices.Clone(s.pieces[to:])
		merged := piece{whole, s.pieces[from].tier + 1}
		s.pieces = s.pieces[:from]
		for _, p := range append([]piece{merged}, rest...) {
			s.remember(p)
		}
		s.event(event.BatchesMerged, "merged batches", "count", len(parts), "from", whole.From, "to", whole.To, "bytes", whole.Size)
	}
}

// deleteMerged deletes the batches that merged ones have replaced, once they
// are due. One whose replacement is gone stays.
func (s *Syncer) deleteMerged(ctx context.Context) error {
	if time.Now().Before(s.deleteNext) {
		return nil
	}
	jobs, err := s.log.Jobs(changelog.Delete)
	if err != nil {
		return err
	}
	now := s.manifest.Now()
	s.deleteNext = time.Now().Add(remote.Grace)
	if err := s.hasten(ctx, jobs, now.Add(remote.Grace)); err != nil {
		return err
	}
	var done []changelog.Job
	wider := map[remote.Span][]remote.Batch{}
	for _, j := range jobs {
		if left := time.UnixMilli(j.Due).Sub(now); left > 0 {
			if at := time.Now().Add(left); at.Before(s.deleteNext) {
				s.deleteNext = at
			}
			continue
		}
		b, ok := s.cfg.Bucket.ParseBatch(j.Object)
		replaced := ok && s.replaced(b)
		if replaced && !s.useless(b, j.Object) {
			continue
		}
		if ok && !replaced {
			span := remote.Span{NodeID: b.NodeID, Epoch: b.Epoch, From: 1}
			if wider[span] == nil {
				if wider[span], err = s.cfg.Bucket.Batches(ctx, span); err != nil {
					return err
				}
			}
			ok = remote.Covered(wider[span], b)
		}
		if ok {
			if err := s.remove(ctx, j.Object); err != nil {
				return err
			}
		}
		done = append(done, j)
	}
	if len(done) == 0 {
		return nil
	}
	return s.exclusive(ctx, func() error { return s.log.Drop(done) })
}

// hasten lets jobs that are due later than latest be due then: the store's clock was
// ahead when they were made.
func (s *Syncer) hasten(ctx context.Context, jobs []changelog.Job, latest time.Time) error {
	due := latest.UnixMilli()
	if !slices.ContainsFunc(jobs, func(j changelog.Job) bool { return j.Due > due }) {
		return nil
	}
	for i := range jobs {
		jobs[i].Due = min(jobs[i].Due, due)
	}
	return s.exclusive(ctx, func() error { return s.log.Hasten(changelog.Delete, due) })
}

// pruned is how long ago it was looked last what has become too old, by the store's
// clock; negative if that was ahead then.
func (s *Syncer) pruned() time.Duration {
	if s.manifest.PrunedAt == 0 { // it is new, and nothing is old
		return 0
	}
	return s.manifest.Now().Sub(time.UnixMilli(s.manifest.PrunedAt))
}

// collect deletes what the manifest has not needed since it was pruned last,
// and prunes it again. Between two prunings the grace time passes at least, so
// a reader who has an older manifest still finds what that names. It waits for a task:
// what that has stored is not named yet, and may have taken longer than the grace time.
func (s *Syncer) collect(ctx context.Context) (objects int, bytes int64, err error) {
	if s.cfg.Retention <= 0 || s.books.BarrierOpen() || s.task != nil {
		return 0, 0, nil
	}
	switch since := s.pruned(); {
	case since < 0:
		return 0, 0, s.confirm(ctx, nil) // which puts it right
	case since < remote.Grace:
		return 0, 0, nil
	}
	cutoff := s.manifest.Clone().Prune(s.manifest.Now(), s.cfg.Retention)
	garbage, err := s.cfg.Bucket.Garbage(ctx, s.manifest, cutoff)
	if err != nil {
		return 0, 0, err
	}
	var refused error
	for _, g := range garbage {
		err := s.remove(ctx, g.Key)
		if errors.Is(err, fs.ErrPermission) {
			refused = err // it is garbage all the same, and found again
			break
		}
		if err != nil {
			return objects, bytes, err
		}
		objects, bytes = objects+1, bytes+g.Size
	}
	if objects > 0 {
		s.event(event.GarbageDeleted, "deleted what was out of the retention window", "objects", objects, "bytes", bytes)
	}
	err = s.confirm(ctx, func(m *remote.Manifest) { m.Prune(s.manifest.Now(), s.cfg.Retention) })
	return objects, bytes, errors.Join(refused, err)
}

// collectDue collects about once a day.
func (s *Syncer) collectDue(ctx context.Context) error {
	if s.pruned() < s.cfg.Retention/30 {
		return nil
	}
	_, _, err := s.collect(ctx)
	return err
}

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
	if s.epoch == 0 { // there was nothing to send
		if err := s.attach(ctx, request{collect: true}, s.books.Acked); err != nil {
			return 0, 0, err
		}
	}
	return s.collect(ctx)
}

// tidy keeps the bucket small and the digests complete. What fails is tried
// again with a later round: nobody waits for it. What may take long is left to
// rounds that nobody waits for either.
func (s *Syncer) tidy(ctx context.Context, r request) {
	s.chore(ctx, "merge batches", s.merge)
	s.chore(ctx, "delete merged batches", s.deleteMerged)
	if !r.collect {
		s.chore(ctx, "delete what is too old", s.collectDue)
	}
	if r.background() {
		s.chore(ctx, "compute digests", s.rescan)
	}
}

// chore runs a part of tidying up. None depends on another one. That it fails is told
// once for each cause, until it succeeds again.
func (s *Syncer) chore(ctx context.Context, name string, do func(context.Context) error) {
	if ctx.Err() != nil || s.broken != nil {
		return
	}
	err := do(ctx)
	cause := name
	if errors.Is(err, fs.ErrPermission) {
		cause = denied // whichever chore finds it
	}
	switch {
	case err == nil:
		delete(s.undone, name)
	case ctx.Err() == nil && !s.undone[cause]:
		s.undone[cause] = true
		s.cfg.Logger.Warn(event.TidyingFailed, "tidying up failed; it is tried again, and not told again before it has succeeded",
			"chore", name, "error", err)
	}
}

// denied is the cause of chores that this program has not the rights for. The rounds
// in which there is nothing to delete say nothing of it.
const denied = "permission"

// remove deletes an object.
func (s *Syncer) remove(ctx context.Context, key string) error {
	err := s.cfg.Bucket.Delete(ctx, key)
	if err == nil {
		delete(s.undone, denied)
	}
	return err
}
