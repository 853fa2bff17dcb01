package driftdb

import (
	"cmp"
	"context"
	"time"
)

// GarbageObject is an object of a backup that nothing needs any more.
type GarbageObject struct {
	Key  string // within the store
	Size int64
	Why  string
}

// Garbage lists the objects of the backup that the next collection would delete
// if it were now: what only points in time need that are more than retention
// ago (0: 30 days; negative: nothing), and snapshots that no manifest names.
// It changes nothing: collecting is the writer's affair, who does it about once a
// day while it syncs.
//
// A collection goes by the store's clock. What that says now, only a writer is told;
// so this goes by when the manifest was stored and by this machine's clock, whichever
// is later.
func (b *Backup) Garbage(ctx context.Context, retention time.Duration) ([]GarbageObject, error) {
	if b.bucket == nil {
		return nil, ErrNoStore
	}
	list, err := b.bucket.Collectable(ctx, cmp.Or(retention, defaultRetention))
	if err != nil || list == nil {
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
	objects, bytes, err = db.engine.sync.Collect(ctx)
	return objects, bytes, fail(err)
}
