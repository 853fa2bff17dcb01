package remote

import (
	"context"
	"slices"
	"time"
)

// Grace is how long an object stays after nothing needs it any more: a reader
// may have read the manifest that did.
const Grace = 24 * time.Hour

// Prune takes out of m what no restore to a time within the window needs: snapshots
// older than the newest one at its beginning, and the lineage before it. The objects
// become garbage. The store's clock says now; Prune returns when the window begins.
func (m *Manifest) Prune(now time.Time, window time.Duration) (cutoff time.Time) {
	cutoff = m.advance(now, window).Add(-window)
	base := -1
	for i, s := range m.Snapshots {
		if s.storedAt() <= cutoff.UnixMilli() {
			base = i
		}
	}
	if base >= 0 {
		m.Snapshots = slices.Delete(m.Snapshots, 0, base)
		m.Pruned = m.Snapshots[0].Sequence
		m.Lineage = slices.DeleteFunc(m.Lineage, func(s Span) bool { return s.To != 0 && s.To <= m.Pruned })
	}
	return cutoff
}

// Garbage is an object that nothing needs.
type Garbage struct {
	Key  string
	Size int64
	Why  string
}

// Garbage lists what the history that m describes has no use for: what was
// stored before cutoff and has been pruned or belongs to a branch, and snapshots
// that no manifest names. What was stored within the grace time before m stays, and
// so does what a later epoch than m's has stored.
//
// It is derived from m and a listing alone. So nothing must be remembered,
// and it does not matter how often, or how far, a collection of it gets.
func (b *Bucket) Garbage(ctx context.Context, m Stored, cutoff time.Time) ([]Garbage, error) {
	named := map[string]bool{}
	for _, s := range m.Snapshots {
		named[s.Key] = true
	}
	graced := m.written().Add(-Grace)
	var branch Batch // the last one that stays: its snapshot comes right after it
	var out []Garbage
	for o, err := range b.objects(ctx) {
		if err != nil {
			return nil, err
		}
		old := o.ModTime.Before(cutoff)
		switch {
		case o.kind == batchObject && o.batch.To <= m.Pruned && o.batch.Epoch <= m.Epoch && old,
			o.kind == branchObject && old,
			o.kind == branchSnapshot && o.batch != branch && old:
			out = append(out, Garbage{o.Key, o.Size, "older than the retention window"})
		case o.kind == snapshotObject && !named[o.Key] && o.ModTime.Before(graced):
			out = append(out, Garbage{o.Key, o.Size, "no manifest names it"})
		case o.kind == branchObject:
			branch = o.batch
		}
	}
	return out, nil
}

// Collectable lists what a collection with this window would delete if it were now; with
// a negative one nothing. What the store's clock says now, only a writer is told: so it
// goes by when the manifest was stored and by this machine's clock, whichever is later.
func (b *Bucket) Collectable(ctx context.Context, window time.Duration) ([]Garbage, error) {
	m, err := b.Existing(ctx)
	if err != nil || window < 0 {
		return nil, err
	}
	now := m.Now()
	if local := time.Now(); local.After(now) { // the manifest is older than it was when it was stored
		now = local
	}
	return b.Garbage(ctx, m, m.Prune(now, window)) // of this copy of it
}

// Delete removes an object, one that is garbage.
func (b *Bucket) Delete(ctx context.Context, key string) error { return b.store.Delete(ctx, key) }
