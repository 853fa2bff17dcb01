package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// confirm swaps the manifest, so that it confirms all acknowledged changes. edit, if not
// nil, changes it further. Changes after a barrier cannot be restored without a snapshot:
// until edit adds one, or confirms less, the manifest is not swapped.
func (e *epoch) confirm(ctx context.Context, edit func(*remote.Manifest)) error {
	if err := e.settle(ctx); err != nil {
		return err
	}
	m := e.manifest.Clone()
	m.Released = false
	m.LatestSequence, m.ChainHead, m.Earliest = e.books.Acked, e.books.Chain, told(e.books.Earliest)
	m.Observe(e.manifest.Now())
	if err := e.measure(m); err != nil {
		return err
	}
	if edit != nil {
		edit(m)
	}
	if e.books.Barrier > max(m.SnapshotSequence, 0) && m.LatestSequence >= e.books.Barrier {
		return nil
	}
	m.UpdatedAt = time.Now().UnixMilli()
	var err error
	e.manifest, err = e.cfg.Bucket.Swap(ctx, e.manifest, m)
	switch {
	case errors.Is(err, remote.ErrLost):
		return e.fenced(err)
	case errors.Is(err, remote.ErrGone):
		return e.missing(ctx, err)
	case err != nil:
		return fmt.Errorf("replace the manifest: %w", err)
	}
	return e.confirmed(ctx)
}

// vouch makes sure that what was uploaded stays in the history, whoever takes over from
// now on: this session is still the writer after it was stored (see join). Changes after
// a barrier stay only with a snapshot, which the manifest then names, so nothing is vouched
// for until then.
func (e *epoch) vouch(ctx context.Context) error {
	if e.session.epoch == 0 || e.books.BarrierOpen() || e.safe() >= e.books.Acked {
		return nil
	}
	if e.manifest.Unsettled() { // a delayed swap to another epoch could end this one's span before the changes
		return e.confirm(ctx, nil)
	}
	if err := e.settled(ctx, e.cfg.Bucket.Current); err != nil {
		return err
	}
	e.vouched = remote.Position{Sequence: e.books.Acked, Chain: e.books.Chain}
	e.arrived()
	return nil
}

// announce records in the manifest how large the file has been, before a batch is stored
// whose replay makes a restored file as large.
func (e *epoch) announce(ctx context.Context) error {
	m := e.manifest.Clone()
	if err := e.measure(m); err != nil || m.Largest == e.manifest.Largest {
		return err
	}
	return e.confirm(ctx, nil)
}

// settle determines the manifest's state if an earlier swap failed without a clear
// result, and continues from there.
func (e *epoch) settle(ctx context.Context) error { return e.settled(ctx, e.cfg.Bucket.Settle) }

// settled is settle with what find finds.
func (e *epoch) settled(ctx context.Context, find func(context.Context, remote.Stored) (remote.Stored, error)) (err error) {
	e.manifest, err = find(ctx, e.manifest)
	switch {
	case errors.Is(err, remote.ErrLost):
		return e.fenced(err)
	case errors.Is(err, remote.ErrGone):
		return e.missing(ctx, err)
	case err != nil:
		return fmt.Errorf("check whether the manifest was replaced: %w", err)
	case e.session.epoch != 0 && e.manifest.Epoch != e.session.epoch:
		return e.renewed(ctx)
	}
	return nil
}

// missing records that the manifest is gone. Batches that this session stored after it
// may be elsewhere, such as in the mount point of an unmounted disk, so they do not
// count. The next round looks again. If the manifest is back, the session takes another
// epoch, and compares to see what the bucket has. If not, a new backup begins, with a
// snapshot if the log does not reach back far enough.
func (e *epoch) missing(ctx context.Context, gone error) error {
	e.gone = true
	_, err := e.stepBack(ctx)
	return errors.Join(gone, err)
}

// confirmed brings the books up to date with the manifest.
func (e *epoch) confirmed(ctx context.Context) error {
	return e.setBooks(ctx, e.toldBy(e.manifest.Manifest, e.books))
}

// toldBy returns the books updated from m, which this session has just stored.
func (e *epoch) toldBy(m *remote.Manifest, b changelog.Books) changelog.Books {
	e.swapped = time.Now()
	e.compareClocks()
	b.Synced, b.Silent, b.Manifest = 1, 0, ""
	if !e.cfg.Advisory { // else the store may not honour conditions
		b.Manifest = e.manifest.ETag()
	}
	before := b
	b.Confirmed, b.Earliest = m.LatestSequence, earliestIn(m)
	if n := len(m.Snapshots); n > 0 {
		last := m.Snapshots[n-1]
		e.tellFaults(last)
		if b.Snapshot != last.Sequence {
			b.Snapshot, b.SnapshotBytes, b.BytesSince = last.Sequence, last.Size, 0
		}
	}
	if !b.BarrierOpen() && (b.Confirmed > before.Confirmed || b.Snapshot > before.Snapshot) { // not if it only takes an epoch
		e.cfg.Confirmed()
	}
	return b
}

// earliestIn returns Books.Earliest for the changes that m confirms.
func earliestIn(m *remote.Manifest) int64 {
	if m.LatestSequence <= m.SnapshotSequence {
		return changelog.NoTime
	}
	return m.Earliest
}

// told returns Books.Earliest as a manifest has it: 0 if there are no changes.
func told(earliest int64) int64 {
	if earliest == changelog.NoTime {
		return 0
	}
	return earliest
}
