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

// compactor keeps the bucket small: it merges small batches and deletes garbage.
type compactor struct {
	*state
	epoch *epoch

	merging    bool            // a merge is under way
	candidates []candidate     // batches that this session stored and may merge
	spare      string          // the batch that this session's first one replaced; the next session deletes it
	deleteNext time.Time       // when merged batches may next be deleted, by the monotonic clock
	undone     map[string]bool // the failures that were already reported, by cause
}

// mergeCount batches of less than mergeBelow bytes each are merged into one, and as many
// merged batches are merged again. So each entry is rewritten only a few times, and a
// restore reads few objects.
const (
	mergeCount = 64
	mergeBelow = 256 << 10
)

// candidate is a batch of this session that may be merged.
type candidate struct {
	remote.Batch
	tier int // how often its contents have been merged
}

// remember adds a batch to the candidates. Candidates must be adjacent, so a large batch
// drops those before it.
func (c *compactor) remember(p candidate) {
	c.forget()
	if p.Size >= mergeBelow {
		c.candidates = nil
		return
	}
	c.candidates = append(c.candidates, p)
}

// forget drops candidates of other epochs: they may not be part of the history.
func (c *compactor) forget() {
	c.candidates = slices.DeleteFunc(c.candidates, func(p candidate) bool {
		return p.Epoch != c.session.epoch || p.NodeID != c.session.node
	})
}

// mergeable finds the candidates to merge: the oldest ones of the newest tier, if there
// are enough. Only batches that a manifest has confirmed are merged; others may turn out
// not to be part of the history.
func (c *compactor) mergeable() (from, to int, found bool) {
	c.forget()
	to = len(c.candidates)
	for to > 0 && c.candidates[to-1].To > c.books.Confirmed {
		to--
	}
	from = to
	for from > 0 && c.candidates[from-1].tier == c.candidates[to-1].tier {
		from--
	}
	return from, from + mergeCount, to-from >= mergeCount
}

// merge makes one batch of many small ones. The small ones are deleted once no reader
// that has listed them can still be reading.
func (c *compactor) merge(ctx context.Context) error {
	for {
		from, to, found := c.mergeable()
		if !found || c.merging {
			return nil
		}
		parts := make([]remote.Batch, to-from)
		jobs := make([]changelog.Job, to-from)
		due := c.epoch.current().Now().Add(remote.Grace).UnixMilli()
		for i, p := range c.candidates[from:to] {
			parts[i] = p.Batch
			jobs[i] = changelog.Job{Kind: changelog.Delete, Epoch: p.Epoch, From: p.From, To: p.To, Object: remote.BatchKey(c.cfg.Bucket.Name(), p.Batch), Due: due}
		}
		tier := c.candidates[from].tier
		whole, same, err := c.mergeApart(ctx, parts)
		if !same {
			return nil // it may not be part of the history any more
		}
		if errors.Is(err, remote.ErrTaken) {
			c.dropThrough(parts[0]) // without the first one, the range and so the name differ
			continue
		}
		if err != nil {
			return err
		}
		if err := c.commit(ctx, func() error { return c.log.Claim(jobs) }); err != nil {
			return err
		}
		c.replace(parts, candidate{whole, tier + 1})
		c.event(event.BatchesMerged, "merged batches", "count", len(parts), "from", whole.From, "to", whole.To, "bytes", whole.Size)
	}
}

// mergeApart stores the merged batch. It reports whether this session still has the epoch
// of the parts.
func (c *compactor) mergeApart(ctx context.Context, parts []remote.Batch) (whole remote.Batch, same bool, err error) {
	c.merging = true
	same = c.apart(func() { whole, err = c.cfg.Bucket.Merge(ctx, c.log.Identity().DatabaseID, parts) })
	c.merging = false
	return whole, same, err
}

// replace puts merged in the place of its parts, unless a large batch has dropped them from
// the candidates meanwhile.
func (c *compactor) replace(parts []remote.Batch, merged candidate) {
	from := c.find(parts[0])
	if from < 0 {
		return
	}
	rest := slices.Clone(c.candidates[from+len(parts):])
	c.candidates = c.candidates[:from]
	for _, p := range append([]candidate{merged}, rest...) {
		c.remember(p)
	}
}

// dropThrough drops the candidates up to b.
func (c *compactor) dropThrough(b remote.Batch) { c.candidates = c.candidates[c.find(b)+1:] }

func (c *compactor) find(b remote.Batch) int {
	return slices.IndexFunc(c.candidates, func(p candidate) bool { return p.Batch == b })
}

// chore runs one independent maintenance chore. A failure is reported once for each
// cause, until the chore succeeds again.
func (c *compactor) chore(ctx context.Context, name string, do func(context.Context) error) {
	if ctx.Err() != nil || c.broken != nil {
		return
	}
	err := do(ctx)
	cause := name
	if errors.Is(err, fs.ErrPermission) {
		cause = denied // the same cause for every chore
	}
	switch {
	case err == nil:
		delete(c.undone, name)
	case ctx.Err() == nil && !c.undone[cause]:
		c.undone[cause] = true
		c.cfg.Logger.Warn(event.TidyingFailed, "compaction or garbage collection failed; it is retried, and reported again only after a success",
			"chore", name, "error", err)
	}
}

// denied is the cause of failures by missing permissions. Only a successful deletion
// clears it: a chore that finds nothing to delete proves nothing.
const denied = "permission"
