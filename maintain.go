package driftdb

import (
	"cmp"
	"context"
	"time"

	"github.com/driftdb/driftdb-go/internal/engine"
)

// GarbageObject is an object of a backup that nothing needs any more.
type GarbageObject struct {
	Key  string // within the store
	Size int64
	Why  string
}

// Garbage lists the objects of the backup that a collection would delete if it ran now:
// those that only points in time older than retention need (0: 30 days; negative:
// nothing), and snapshots that no manifest names. It changes nothing: the writer collects
// garbage, about once a day while it syncs.
//
// A collection measures age by the store's clock, which only a writer gets to see.
// Garbage uses this machine's clock or the time when the manifest was stored, whichever
// is later.
func (b *Backup) Garbage(ctx context.Context, retention time.Duration) ([]GarbageObject, error) {
	list, err := b.b.Garbage(ctx, cmp.Or(retention, engine.DefaultRetention))
	if err != nil || list == nil {
		return nil, fail(err)
	}
	out := make([]GarbageObject, len(list))
	for i, g := range list {
		out[i] = GarbageObject(g)
	}
	return out, nil
}

// CollectGarbage deletes objects that nothing needs any more from the bucket, and returns
// their number and total size. This also happens about once a day while the database
// syncs. What one collection finds too old, the next one deletes, at least a day later,
// because a reader may still need it until then. CollectGarbage flushes first, and uses
// the network. Where Flush would wait for itself, CollectGarbage returns an error too.
//
// Age is measured by the store's clock. In case that clock is wrong, a collection gives up
// no more than a quarter of Config.Retention, or a day, at a time.
func (db *DB) CollectGarbage(ctx context.Context) (objects int, bytes int64, err error) {
	objects, bytes, err = db.engine.CollectGarbage(ctx)
	return objects, bytes, fail(err)
}
