package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// epoch is this session's place in the history and in the manifest. It takes, renews and
// loses the session's epoch, and confirms what the bucket has.
type epoch struct {
	*state

	manifest remote.Stored // as this session last wrote it; empty until it has an epoch
	gone     bool          // the manifest was missing when last read
	swapped  time.Time     // when the manifest was last swapped
	skewed   bool          // a clock difference has been reported

	compared  *Comparison // the last comparison of file and bucket
	unchecked bool        // Open could not compare file and bucket
	probed    bool        // the store is known to honour conditions
}

// won records that this session owns the manifest, with an epoch that begins after
// sequence.
func (e *epoch) won(stored remote.Stored, node string, sequence int64) {
	e.manifest, e.session = stored, session{stored.Epoch, node}
	e.cfg.Contest(false)
	e.event(event.EpochTaken, "acquired an epoch", "epoch", e.session.epoch, "sequence", sequence)
}

// rename makes the session store under another node's name.
func (e *epoch) rename(node string) { e.session.node = node }

// isGone reports whether the manifest was missing when last read.
func (e *epoch) isGone() bool { return e.gone }

// sinceSwap returns the time since the manifest was last swapped.
func (e *epoch) sinceSwap() time.Duration { return time.Since(e.swapped) }

// lastSwap returns when the manifest was last swapped.
func (e *epoch) lastSwap() time.Time { return e.swapped }

// resume reads the bucket's state before anything is sent, since the manifest may be
// gone. If it was, the session needs a new epoch.
func (e *epoch) resume(ctx context.Context) error {
	gone := e.gone
	switch err := e.settle(ctx); {
	case gone && errors.Is(err, remote.ErrGone):
		e.manifest = remote.Stored{} // still gone: this session starts over, as a new one would
	case err != nil:
		return err
	}
	if gone {
		e.gone, e.session.epoch = false, 0
	}
	return nil
}

// current returns the manifest as this session last wrote it.
func (e *epoch) current() remote.Stored { return e.manifest }

// probe tests, once a session, whether the store honours conditions. If the manifest is
// still the one that this file's last session stored, that is already known.
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

// take swaps the manifest to a new epoch for this session, which is the last epoch plus
// ahead. The bucket's history must end where the books say. After an error, the manifest
// that it returns is the one that Swap returned.
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

// lastEpoch returns the epoch that the first epoch of a bucket without a manifest must
// follow. If there once was a manifest, that is the larger of the time in Unix seconds
// and the last epoch of the remaining batches: no old epoch's names may be used again,
// and a copy of this file may still work under an epoch that has no batch yet.
func (e *epoch) lastEpoch(ctx context.Context, b *remote.Bucket) (int64, error) {
	last, err := b.LastEpoch(ctx, e.log.Identity().NodeID)
	if last > 0 || e.books.Synced != 0 {
		last = max(last, time.Now().Unix())
	}
	return last, err
}

// releaseName marks the manifest as released, which means that this session stores no
// more changes, if all of them are confirmed. A running snapshot is abandoned.
func (e *epoch) releaseName(ctx context.Context) error {
	done := e.books.Confirmed == e.books.Acked && e.books.Acked == e.cfg.Sequence()
	if e.session.epoch == 0 || e.manifest.Released || !done {
		return nil
	}
	return e.confirm(ctx, func(m *remote.Manifest) { m.Released = true })
}
