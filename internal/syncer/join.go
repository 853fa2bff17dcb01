package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
)

// recheck does what a Check could not do, because the bucket did not answer.
func (e *epoch) recheck(ctx context.Context) error {
	return e.joined(e.join(ctx, e.cfg.Bucket, nil, nil))
}

// acquire gives this session its epoch, and may store its first batch with that. It
// compares the file with the bucket, brings it up to date if it is behind and has
// nothing of its own, and swaps the manifest to another epoch, also when the last
// one was this node's own, since a copy of this disk may be running elsewhere.
//
// first is tried before: it may take the epoch with a first batch. The bucket is reached
// by way of b.
func (e *epoch) acquire(ctx context.Context, b *remote.Bucket, first entry) error {
	take := func(b *remote.Bucket, c Comparison) error {
		if err := e.probe(ctx, b, c); err != nil {
			return err
		}
		entered, err := first(ctx, b, c)
		if !entered && err == nil {
			_, err = e.take(ctx, b, c.stored, 1)
		}
		return err
	}
	return e.joined(e.join(ctx, b, e.lately(), take))
}

// entry takes an epoch with a first batch, if that can be.
type entry func(context.Context, *remote.Bucket, Comparison) (entered bool, err error)

// check compares the file with its bucket, reached by way of b, and may bring it up to
// date. first, if there is one, is how the two were a moment ago.
func (e *epoch) check(ctx context.Context, b *remote.Bucket, first *Comparison) error {
	err := e.join(ctx, b, first, nil)
	e.unchecked = err != nil
	return err
}

// checkLater says that nobody has compared file and bucket.
func (e *epoch) checkLater() { e.unchecked = true }

// mustCheck reports whether nobody has compared them yet.
func (e *epoch) mustCheck() bool { return e.unchecked }

// lately is the comparison that was made last, unless that was too long ago, or another
// node may have stored batches since. What has become of the manifest since then, the
// swap finds out.
func (e *epoch) lately() *Comparison {
	c := e.compared
	e.compared = nil
	if c == nil || time.Since(c.made) > compareAgain {
		return nil
	}
	if m := c.stored.Manifest; m != nil && !m.Released && m.NodeID != e.log.Identity().NodeID {
		return nil
	}
	return c
}

// compareAgain is how old a comparison may be that an epoch is taken by.
const compareAgain = time.Minute

// joined is how a join ends while the database is in use: only Open can restore it.
func (e *epoch) joined(err error) error {
	switch {
	case errors.Is(err, restore.ErrCannotCatchUp) && errors.Is(err, ErrDiverged):
		return e.stop(err) // another Open would not find out that nothing in the file is its own
	case errors.Is(err, restore.ErrCannotCatchUp):
		return e.stop(fmt.Errorf("%w: %w. The file has no changes of its own: open it again to restore it", ErrDiverged, err))
	}
	e.unchecked = e.unchecked && err != nil
	if err == nil {
		e.status.behind.Store(false)
	}
	return err
}

// join brings file and bucket together: the books say how much of the log the
// bucket has, and the file has all that the bucket has. Then take, if there is one,
// gives this session an epoch.
//
// The bucket's writer may be alive. When it, or anybody else, replaces the manifest
// before this session does, all of this starts over from where the file is by then;
// if that is on the way to the new manifest, or behind it, the swap follows at once.
// What the old writer stores between the last look and the swap is left to its branch.
func (e *epoch) join(ctx context.Context, b *remote.Bucket, first *Comparison, take func(*remote.Bucket, Comparison) error) error {
	trail, moved := new(remote.Trail), false
	for again := false; ; again = true {
		c, err := e.compare(ctx, b, first, trail)
		first = nil
		if moved && errors.Is(err, ErrDiverged) && e.pending() == 0 {
			// Somebody has taken over from before a batch that is in the file by now.
			return fmt.Errorf("%w: %w", restore.ErrCannotCatchUp, err)
		}
		if err != nil {
			return e.judge(err)
		}
		e.tellRefused(c.refused)
		if c.relation == behind {
			b, moved = e.cfg.Bucket, true // it does answer, and it would be a pity to stop half way
		}
		if err := e.reconcile(ctx, c, trail, again); errors.Is(err, changelog.ErrOvertaken) {
			continue
		} else if err != nil {
			return err
		}
		if take == nil {
			if c.relation != behind {
				e.compared = &c
			}
			m := c.stored.Manifest
			e.cfg.Contest(m != nil && m.NodeID != e.log.Identity().NodeID)
			return nil
		}
		if err := take(b, c); !errors.Is(err, remote.ErrLost) {
			return err
		}
	}
}

// compare finds out what the file and the bucket are to each other now, unless
// first says so.
func (e *epoch) compare(ctx context.Context, b *remote.Bucket, first *Comparison, trail *remote.Trail) (Comparison, error) {
	if first != nil {
		return *first, nil
	}
	f := File{Identity: e.log.Identity(), Books: e.books, Last: e.cfg.Sequence(), Log: e.log, Since: e.swapped}
	return compare(ctx, b, f, e.cfg.Exclusive, trail)
}

// judge gives up for good when err says that somebody has to decide.
func (e *epoch) judge(err error) error {
	if errors.Is(err, ErrDiverged) || errors.Is(err, ErrHeld) {
		return e.stop(err)
	}
	return err
}

// tellRefused tells of objects that stand where the history would go on, and are no
// part of it. A few are enough to know that somebody else writes into the folder.
func (e *epoch) tellRefused(refused []remote.Refusal) {
	const most = 3
	for _, r := range refused[:min(len(refused), most)] {
		e.cfg.Logger.Warn(event.ObjectRefused, "the bucket has an object that is named like a batch but is not part of the history; it is ignored",
			"key", r.Key, "error", r.Why)
	}
	if more := len(refused) - most; more > 0 {
		e.cfg.Logger.Warn(event.ObjectRefused, "the bucket has more objects that are named like batches but are not part of the history", "count", more)
	}
}
