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

// deleteMerged deletes the batches that merged ones have replaced, once they
// are due. One whose replacement is gone stays.
func (c *compactor) deleteMerged(ctx context.Context) error {
	if time.Now().Before(c.deleteNext) {
		return nil
	}
	jobs, err := c.log.Jobs(changelog.Delete)
	if err != nil {
		return err
	}
	now := c.epoch.current().Now()
	c.deleteNext = time.Now().Add(remote.Grace)
	if err := c.hasten(ctx, jobs, now.Add(remote.Grace)); err != nil {
		return err
	}
	var done []changelog.Job
	wider := map[remote.Span][]remote.Batch{}
	for _, j := range jobs {
		if left := time.UnixMilli(j.Due).Sub(now); left > 0 {
			if at := time.Now().Add(left); at.Before(c.deleteNext) {
				c.deleteNext = at
			}
			continue
		}
		b, ok := c.cfg.Bucket.ParseBatch(j.Object)
		replaced := ok && c.replaced(b)
		if replaced && !c.useless(b, j.Object) {
			continue
		}
		if ok && !replaced {
			span := remote.Span{NodeID: b.NodeID, Epoch: b.Epoch, From: 1}
			if wider[span] == nil {
				if wider[span], err = c.cfg.Bucket.Batches(ctx, span); err != nil {
					return err
				}
			}
			ok = remote.Covered(wider[span], b)
		}
		if ok {
			if err := c.remove(ctx, j.Object); err != nil {
				return err
			}
		}
		done = append(done, j)
	}
	if len(done) == 0 {
		return nil
	}
	return c.commit(ctx, func() error { return c.log.Drop(done) })
}

// hasten lets jobs that are due later than latest be due then: the store's clock was
// ahead when they were made.
func (c *compactor) hasten(ctx context.Context, jobs []changelog.Job, latest time.Time) error {
	due := latest.UnixMilli()
	if !slices.ContainsFunc(jobs, func(j changelog.Job) bool { return j.Due > due }) {
		return nil
	}
	for i := range jobs {
		jobs[i].Due = min(jobs[i].Due, due)
	}
	return c.commit(ctx, func() error { return c.log.Hasten(changelog.Delete, due) })
}

// pruned is how long ago it was looked last what has become too old, by the store's
// clock; negative if that was ahead then.
func (c *compactor) pruned() time.Duration {
	if c.epoch.current().PrunedAt == 0 { // it is new, and nothing is old
		return 0
	}
	return c.epoch.current().Now().Sub(time.UnixMilli(c.epoch.current().PrunedAt))
}

// collect deletes what the manifest has not needed since it was pruned last,
// and prunes it again. Between two prunings the grace time passes at least, so
// a reader who has an older manifest still finds what that names. It waits for a task:
// what that has stored is not named yet, and may have taken longer than the grace time.
func (c *compactor) collect(ctx context.Context) (objects int, bytes int64, err error) {
	if c.cfg.Retention <= 0 || c.books.BarrierOpen() {
		return 0, 0, nil
	}
	switch since := c.pruned(); {
	case since < 0:
		return 0, 0, c.epoch.confirm(ctx, nil) // which puts it right
	case since < remote.Grace:
		return 0, 0, nil
	}
	cutoff := c.epoch.current().Clone().Prune(c.epoch.current().Now(), c.cfg.Retention)
	garbage, err := c.cfg.Bucket.Garbage(ctx, c.epoch.current(), cutoff)
	if err != nil {
		return 0, 0, err
	}
	var refused error
	for _, g := range garbage {
		err := c.remove(ctx, g.Key)
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
		c.event(event.GarbageDeleted, "deleted objects older than the retention window", "objects", objects, "bytes", bytes)
	}
	err = c.epoch.confirm(ctx, func(m *remote.Manifest) { m.Prune(c.epoch.current().Now(), c.cfg.Retention) })
	return objects, bytes, errors.Join(refused, err)
}

// collectDue collects about once a day.
func (c *compactor) collectDue(ctx context.Context) error {
	if c.pruned() < c.cfg.Retention/30 {
		return nil
	}
	_, _, err := c.collect(ctx)
	return err
}

// replaced reports whether the history has nothing of the session that has stored b: another
// batch has taken its place, or it was stored ahead of an epoch that was never taken.
func (c *compactor) replaced(b remote.Batch) bool { return !c.epoch.current().Counts(b) }

// useless reports whether a batch that was replaced can be deleted: the history has what it
// holds, and no reader may still go by the manifest before.
func (c *compactor) useless(b remote.Batch, key string) bool {
	return key != c.spare && b.To <= c.epoch.current().LatestSequence
}

// deleteReplaced deletes the batches that others have taken the place of, and what was
// stored ahead of epochs that nobody took, but for the one to be spared, which this
// session's first has taken the place of. It returns the jobs that are done.
func (c *compactor) deleteReplaced(ctx context.Context, spare string) (done []changelog.Job, err error) {
	c.spare = spare
	jobs, err := c.log.Jobs(changelog.Delete)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if b, ok := c.cfg.Bucket.ParseBatch(j.Object); ok && c.replaced(b) && c.useless(b, j.Object) && c.remove(ctx, j.Object) == nil {
			done = append(done, j) // else deleteMerged tries again, and tells
		}
	}
	return done, nil
}

// remove deletes an object.
func (c *compactor) remove(ctx context.Context, key string) error {
	err := c.cfg.Bucket.Delete(ctx, key)
	if err == nil {
		delete(c.undone, denied)
	}
	return err
}
