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

// recheck repeats a Check that the bucket did not answer.
func (e *epoch) recheck(ctx context.Context) error {
	return e.joined(e.join(ctx, e.cfg.Bucket, nil, nil))
}

// acquire gives this session its epoch, and may store its first batch with it. It
// compares the file with the bucket, brings it up to date if it is behind and has no
// changes of its own, and swaps the manifest to a new epoch. It does so even if the last
// epoch was this node's, since a copy of this disk may be running elsewhere.
//
// first is tried before the plain swap: it may take the epoch with a first batch. All
// requests go through b, except while the file is brought up to date and after that.
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

// entry takes an epoch with a first batch, if that is possible.
type entry func(context.Context, *remote.Bucket, Comparison) (entered bool, err error)

// check compares the file with its bucket through b, and may bring it up to date. first,
// if not nil, is a comparison made a moment ago.
func (e *epoch) check(ctx context.Context, b *remote.Bucket, first *Comparison) error {
	err := e.join(ctx, b, first, nil)
	e.unchecked = err != nil
	return err
}

// checkLater records that file and bucket have not been compared.
func (e *epoch) checkLater() { e.unchecked = true }

// mustCheck reports whether file and bucket still have to be compared.
func (e *epoch) mustCheck() bool { return e.unchecked }

// lately returns the last comparison, unless it is too old or another node may have
// stored batches since. The swap detects a manifest that has changed since then.
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

// compareAgain is the greatest age of a comparison that may still be used to take an
// epoch.
const compareAgain = time.Minute

// joined handles the result of a join while the database is in use, when it cannot be
// restored: only Open can do that.
func (e *epoch) joined(err error) error {
	switch {
	case errors.Is(err, restore.ErrCannotCatchUp) && errors.Is(err, ErrDiverged):
		return e.stop(err) // a later Open could not tell that the file has no changes of its own
	case errors.Is(err, restore.ErrCannotCatchUp):
		return e.stop(fmt.Errorf("%w: %w. The file has no changes of its own: open it again to restore it", ErrDiverged, err))
	}
	e.unchecked = e.unchecked && err != nil
	if err == nil {
		e.status.behind.Store(false)
	}
	return err
}

// join brings file and bucket together. Afterwards the books record how much of the log
// the bucket has, and the file has all of the bucket's history. Then take, if not nil,
// gives this session an epoch.
//
// The bucket's writer may be alive. If it or another writer replaces the manifest before
// this session does, join starts over from where the file is by then. If trail shows that
// the file lies on the new history, the comparison reads no batches.
//
// Before it takes the epoch of a writer that has not released it, join fences that writer,
// and compares once more. A writer tells its program that a change is safe only if it is
// not fenced after the change was stored, so the last comparison finds all such changes.
// What the old writer stores after that becomes its branch.
func (e *epoch) join(ctx context.Context, b *remote.Bucket, first *Comparison, take func(*remote.Bucket, Comparison) error) error {
	trail, moved := new(remote.Trail), false
	for again := false; ; again = true {
		c, err := e.compare(ctx, b, first, trail)
		first = nil
		if moved && errors.Is(err, ErrDiverged) && e.pending() == 0 {
			// Another writer has taken over from a point before a batch that the file now has.
			return fmt.Errorf("%w: %w", restore.ErrCannotCatchUp, err)
		}
		if err != nil {
			return e.judge(err)
		}
		e.tellRefused(c.refused)
		if c.relation == behind {
			b, moved = e.cfg.Bucket, true // the bucket does answer: use retries, so as not to stop half way
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
		if c.stored.Manifest != nil && c.stored.Live() {
			if err = e.probe(ctx, b, c); err == nil {
				err = b.Fence(ctx, c.stored)
			}
		} else if err = take(b, c); err == nil {
			return nil
		}
		if err != nil && !errors.Is(err, remote.ErrLost) {
			return err
		}
	}
}

// compare returns first if it is not nil, and otherwise compares file and bucket now.
func (e *epoch) compare(ctx context.Context, b *remote.Bucket, first *Comparison, trail *remote.Trail) (Comparison, error) {
	if first != nil {
		return *first, nil
	}
	f := File{Identity: e.log.Identity(), Books: e.books, Last: e.cfg.Sequence(), Log: e.log, Since: e.swapped}
	return compare(ctx, b, f, e.cfg.Exclusive, trail)
}

// judge stops syncing for good if err needs a decision by the user.
func (e *epoch) judge(err error) error {
	if errors.Is(err, ErrDiverged) || errors.Is(err, ErrHeld) {
		return e.stop(err)
	}
	return err
}

// tellRefused reports objects that are named like the history's next batches but are not
// part of it. A few are enough to show that another program writes into the folder.
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
