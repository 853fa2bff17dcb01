package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// epoch is this session's place in the history, and the manifest that says so: how an
// epoch is taken, renewed and lost, and what the bucket confirms.
type epoch struct {
	*state

	manifest remote.Stored // as this session wrote it last; empty until it has an epoch
	gone     bool          // it was not there when we looked
	swapped  time.Time     // when it was swapped last
	skewed   bool          // that the clocks differ has been told

	compared  *Comparison // as file and bucket were when they were compared last
	unchecked bool        // Open could not compare file and bucket
	probed    bool        // the store honours conditions
}

// won notes that the manifest is this session's, with an epoch that begins behind sequence.
func (e *epoch) won(stored remote.Stored, node string, sequence int64) {
	e.manifest, e.session = stored, session{stored.Epoch, node}
	e.cfg.Contest(false)
	e.event(event.EpochTaken, "acquired an epoch", "epoch", e.session.epoch, "sequence", sequence)
}

// rename lets the session store under the name of another node.
func (e *epoch) rename(node string) { e.session.node = node }

// isGone reports whether the manifest was not there when we looked.
func (e *epoch) isGone() bool { return e.gone }

// sinceSwap is how long ago it was swapped.
func (e *epoch) sinceSwap() time.Duration { return time.Since(e.swapped) }

// resume finds out what the bucket has, before anything is sent to one that may not be
// there any more. When the manifest was gone, the session needs another epoch.
func (e *epoch) resume(ctx context.Context) error {
	gone := e.gone
	switch err := e.settle(ctx); {
	case gone && errors.Is(err, remote.ErrGone):
		e.manifest = remote.Stored{} // it stays away: this session starts over, as another one would
	case err != nil:
		return err
	}
	if gone {
		e.gone, e.session.epoch = false, 0
	}
	return nil
}

// current is the manifest as this session wrote it last.
func (e *epoch) current() remote.Stored { return e.manifest }

// probe finds out, once in a session, whether the store honours conditions. Where it
// has the manifest that this file's last session stored, that is known.
func (e *epoch) probe(ctx context.Context, b *remote.Bucket, c Comparison) error {
	known := c.stored.Manifest != nil && c.stored.ETag() == e.books.Manifest
	if e.cfg.Advisory || e.probed || known {
		return nil
	}
	err := b.Probe(ctx, e.log.Identity().NodeID, e.log.Identity().DatabaseID)
	if errors.Is(err, remote.ErrConditions) {
		return e.stop(err)
	}
	e.probed = err == nil
	return err
}

// take swaps the manifest to an epoch of this session's own, ahead of the last one by
// so many. The bucket's history is known to end where the books say. After an error
// it returns what Swap does.
func (e *epoch) take(ctx context.Context, b *remote.Bucket, stored remote.Stored, ahead int64) (_ remote.Stored, err error) {
	id := e.log.Identity()
	if err := e.disown(ctx, stored); err != nil {
		return stored, err
	}
	m := &remote.Manifest{
		Name: b.Name(), DatabaseID: id.DatabaseID,
	}
	if stored.Manifest != nil {
		m = stored.Clone()
	} else if m.Epoch, err = e.lastEpoch(ctx, b); err != nil {
		return stored, err
	}
	m.Epoch += ahead - 1
	if err := e.measure(m); err != nil {
		return stored, err
	}
	m.Takeover(id.NodeID, remote.Position{Sequence: e.books.Acked, Chain: e.books.Chain})
	m.Earliest, m.UpdatedAt = told(e.books.Earliest), time.Now().UnixMilli()
	next, err := b.Swap(ctx, stored, m)
	if err != nil {
		return next, fmt.Errorf("acquire an epoch: %w", err)
	}
	if p := stored.Manifest; p != nil && !p.Released && p.NodeID != id.NodeID {
		e.event(event.TakenOver, "took the database over from another node", "node", p.NodeID, "epoch", p.Epoch)
	}
	e.won(next, id.NodeID, e.books.Acked)
	return next, e.confirmed(ctx)
}

// lastEpoch is the epoch after which the first of a bucket without a manifest comes. If
// there was a manifest once, that is the time in Unix seconds, or what batches are left
// tell: nobody may use an old epoch's names again, and a copy of this file may still be
// at work under one that has no batch yet.
func (e *epoch) lastEpoch(ctx context.Context, b *remote.Bucket) (int64, error) {
	last, err := b.LastEpoch(ctx, e.log.Identity().NodeID)
	if last > 0 || e.books.Synced != 0 {
		last = max(last, time.Now().Unix())
	}
	return last, err
}

// releaseName says in the manifest that this session stores no more changes, if all of
// them are confirmed. A snapshot that is under way is given up.
func (e *epoch) releaseName(ctx context.Context) error {
	done := e.books.Confirmed == e.books.Acked && e.books.Acked == e.cfg.Sequence()
	if e.session.epoch == 0 || e.manifest.Released || !done {
		return nil
	}
	return e.confirm(ctx, func(m *remote.Manifest) { m.Released = true })
}
