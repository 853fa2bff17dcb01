package remote

import (
	"context"
	"slices"
	"time"
)

// Grace is how long an object is kept after nothing needs it any more. A reader may still
// use an older manifest that needs it.
const Grace = 24 * time.Hour

// Prune removes from m what no restore to a time within the window needs: snapshots older
// than the newest one at the start of the window, and the lineage before that one. Their
// objects become garbage. now is the time by the store's clock. Prune returns the start
// of the window.
func (m *Manifest) Prune(now time.Time, window time.Duration) (cutoff time.Time) {
	cutoff = m.advance(now, window).Add(-window)
	base := -1
	for i, s := range m.Snapshots {
		if s.storedAt() <= cutoff.UnixMilli() {
			base = i
		}
	}
	m.dropSpent()
	before, dropped := m.Pruned, slices.Clone(m.Snapshots[:max(base, 0)])
	if base >= 0 {
		m.Snapshots = slices.Delete(m.Snapshots, 0, base)
		m.Pruned = m.Snapshots[0].Sequence
		m.Lineage = slices.DeleteFunc(m.Lineage, func(s Span) bool { return s.To != 0 && s.To <= m.Pruned })
	}
	m.pruneOrigins(before, dropped)
	return cutoff
}

// Garbage is an object that is not needed.
type Garbage struct {
	Key  string
	Size int64
	Why  string
}

// Garbage lists the objects that the history that m describes does not need: pruned
// batches, and branches' manifests and snapshots, if they were stored before cutoff; and
// snapshots that no manifest names, unless they were stored within the grace time before
// m. It keeps batches of an epoch later than m's, and what forks need. Held says what that
// is; its dead pins are garbage, too.
//
// The list depends only on m and a listing. Nothing must be remembered between
// collections, and a collection may stop anywhere and run any number of times.
func (b *Bucket) Garbage(ctx context.Context, m Stored, cutoff time.Time) ([]Garbage, Held, error) {
	held, err := b.Held(ctx, m.DatabaseID, m.Now())
	if err != nil {
		return nil, held, err
	}
	named := map[string]bool{}
	for _, s := range m.Snapshots {
		named[s.Key] = true
	}
	graced := m.written().Add(-Grace)
	var branch Batch // the last branch that is kept; its snapshot follows right after it
	var out []Garbage
	for o, err := range b.objects(ctx) {
		if err != nil {
			return nil, held, err
		}
		old := o.ModTime.Before(cutoff)
		switch {
		case held.has(o):
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
	for _, key := range held.dead {
		out = append(out, Garbage{key, 0, "its fork needs nothing here"})
	}
	return out, held, nil
}

// Collectable lists what a collection with this window would delete now; with a negative
// window, nothing. Only a writer learns the current time of the store's clock.
// Collectable uses the time that the manifest was stored or this machine's clock,
// whichever is later.
func (b *Bucket) Collectable(ctx context.Context, window time.Duration) ([]Garbage, error) {
	m, err := b.Existing(ctx)
	if err != nil || window < 0 {
		return nil, err
	}
	now := m.Now()
	if local := time.Now(); local.After(now) { // time has passed since the manifest was stored
		now = local
	}
	garbage, _, err := b.Garbage(ctx, m, m.Prune(now, window)) // prunes only this copy
	return garbage, err
}

// Delete removes an object that is garbage.
func (b *Bucket) Delete(ctx context.Context, key string) error { return b.store.Delete(ctx, key) }
