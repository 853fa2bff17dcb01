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

// deleteMerged deletes the batches that merged ones have replaced, once they are due. A
// batch whose replacement is gone stays.
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
	merged := newCover(c.cfg.Bucket, jobs, now)
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
		if !c.apart(func() {
			if ok && !replaced {
				ok, err = merged.has(ctx, b)
			}
			if ok && err == nil {
				err = c.cfg.Bucket.Delete(ctx, j.Object)
			}
		}) {
			return nil // whoever writes now deletes it
		}
		if err != nil {
			return err
		}
		if ok {
			delete(c.undone, denied)
		}
		done = append(done, j)
	}
	if len(done) == 0 {
		return nil
	}
	return c.commit(ctx, func() error { return c.log.Drop(done) })
}

// hasten makes jobs due at latest that are due later: the store's clock was ahead when
// they were created.
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

// pruned returns the time since the manifest was last pruned, by the store's clock. It is
// negative if that clock was ahead then.
func (c *compactor) pruned() time.Duration {
	if c.epoch.current().PrunedAt == 0 { // a new manifest: nothing is old
		return 0
	}
	return c.epoch.current().Now().Sub(time.UnixMilli(c.epoch.current().PrunedAt))
}

// collect deletes objects that the manifest has not needed since it was last pruned, and
// prunes it again. At least the grace time passes between two prunings, so a reader with
// an older manifest still finds the objects that it names. collect must not run during a
// task: the task's snapshot is not named yet, and may be older than the grace time.
func (c *compactor) collect(ctx context.Context) (objects int, bytes int64, err error) {
	if c.cfg.Retention <= 0 || c.books.BarrierOpen() {
		return 0, 0, nil
	}
	switch since := c.pruned(); {
	case since < 0:
		return 0, 0, c.epoch.confirm(ctx, nil) // the swap corrects the time
	case since < remote.Grace:
		return 0, 0, nil
	}
	cutoff := c.epoch.current().Clone().Prune(c.epoch.current().Now(), c.cfg.Retention)
	garbage, held, err := c.cfg.Bucket.Garbage(ctx, c.epoch.current(), cutoff)
	if err != nil {
		return 0, 0, err
	}
	refused := errors.Join(held.Unclear, c.cfg.Bucket.GiveUp(ctx, held))
	for _, g := range garbage {
		err := c.remove(ctx, g.Key)
		if errors.Is(err, fs.ErrPermission) {
			refused = errors.Join(refused, err) // the next collection finds it again
			break
		}
		if err != nil {
			return objects, bytes, err
		}
		objects, bytes = objects+1, bytes+g.Size
	}
	// What only this fork still needed of a deleted database may go now.
	for _, o := range c.epoch.current().Origins {
		swept, err := c.cfg.Bucket.SweepOrigin(ctx, o)
		if err != nil {
			return objects, bytes, err
		}
		objects, bytes = objects+swept.Objects, bytes+swept.Bytes
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

// replaced reports whether the history has no batch of the session that stored b: another
// batch has replaced it, or it was stored for an epoch that was never taken.
func (c *compactor) replaced(b remote.Batch) bool { return !c.epoch.current().Counts(b) }

// useless reports whether a replaced batch can be deleted: the history has its entries,
// and no reader can still need it with the previous manifest.
func (c *compactor) useless(b remote.Batch, key string) bool {
	return key != c.spare && b.To <= c.epoch.current().LatestSequence
}

// deleteReplaced deletes batches that others have replaced, and batches that were stored
// for epochs that were never taken. It keeps spare, which this session's first batch has
// replaced. It returns the jobs that are done.
func (c *compactor) deleteReplaced(ctx context.Context, spare string) (done []changelog.Job, err error) {
	c.spare = spare
	jobs, err := c.log.Jobs(changelog.Delete)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if b, ok := c.cfg.Bucket.ParseBatch(j.Object); ok && c.replaced(b) && c.useless(b, j.Object) && c.remove(ctx, j.Object) == nil {
			done = append(done, j) // else deleteMerged tries again, and reports failures
		}
	}
	return done, nil
}

// remove deletes an object. A success clears the cause denied.
func (c *compactor) remove(ctx context.Context, key string) error {
	err := c.cfg.Bucket.Delete(ctx, key)
	if err == nil {
		delete(c.undone, denied)
	}
	return err
}
