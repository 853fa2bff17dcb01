package driftdb

import (
	"context"
	"fmt"
	"time"
)

// GarbageObject is an object of a backup that nothing needs any more.
type GarbageObject struct {
	Key  string // within the store
	Size int64
	Why  string
}

// Garbage lists the objects of a backup that the next collection would delete
// if it were now: what only points in time need that are more than retention
// ago (0: 30 days; negative: nothing), and snapshots that no manifest names.
// Path, At and Sequence of cfg are not looked at. It uses the network, and
// changes nothing: collecting is the writer's affair, who does it about once a
// day while it syncs.
//
// A collection goes by the store's clock. What that says now, only a writer is told;
// so this goes by when the manifest was stored and by this machine's clock, whichever
// is later.
func Garbage(ctx context.Context, cfg RestoreConfig, retention time.Duration) ([]GarbageObject, error) {
	b, err := cfg.bucket(ctx)
	if err != nil {
		return nil, fail(fmt.Errorf("driftdb: %w", err))
	}
	m, err := b.Existing(ctx)
	if err != nil {
		return nil, fail(err)
	}
	if retention == 0 {
		retention = defaultRetention
	}
	if retention < 0 {
		return nil, nil
	}
	now := m.Now()
	if local := time.Now(); local.After(now) { // the manifest is older than it was when it was stored
		now = local
	}
	cutoff := m.Prune(now, retention) // this copy of it
	list, err := b.Garbage(ctx, m, cutoff)
	if err != nil {
		return nil, fail(err)
	}
	out := make([]GarbageObject, len(list))
	for i, g := range list {
		out[i] = GarbageObject(g)
	}
	return out, nil
}

// CollectGarbage deletes from the bucket what nothing needs any more, as it
// also happens about once a day while the database syncs, and returns how much
// that was. What a collection finds to be too old is deleted by the next one, a
// day later at the earliest: until then somebody may still be reading it. It
// flushes first, and uses the network. Where Flush is an error, so is
// CollectGarbage.
//
// How old something is, the store's clock says. In case that is wrong, a collection
// gives up no more than a quarter of Config.Retention, or a day, at a time.
func (db *DB) CollectGarbage(ctx context.Context) (objects int, bytes int64, err error) {
	if err := db.syncable("CollectGarbage"); err != nil {
		return 0, 0, err
	}
	objects, bytes, err = db.sync.Collect(ctx)
	return objects, bytes, fail(err)
}
