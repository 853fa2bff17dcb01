package remote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

// Deleted counts what a deletion removed.
type Deleted struct {
	Objects int
	Bytes   int64
	// Forks still use objects of the database, which stay until the forks are deleted or
	// need them no more.
	Forks []string
}

// DeleteAll deletes the backup. What forks need stays; everything else goes. A fork's
// deletion also removes what only it still needed of deleted databases.
//
// First the manifest is replaced, so nothing can build on it any more, and a running writer
// finds out that it was deleted. DeleteAll of a deleted backup does what was left to do.
func (b *Bucket) DeleteAll(ctx context.Context) (Deleted, error) {
	v, err := b.abolish(ctx)
	if err != nil {
		return Deleted{}, err
	}
	return b.finish(ctx, v)
}

// finish deletes what is left of the backup whose vacancy is v, and its pins.
func (b *Bucket) finish(ctx context.Context, v *vacancy) (Deleted, error) {
	d, err := b.sweep(ctx, v)
	if err != nil {
		return d, err
	}
	for _, name := range v.Origins {
		if err := b.store.Delete(ctx, pinKey(name, b.name, v.DatabaseID)); err != nil {
			return d, err
		}
		more, err := b.Sibling(name).Sweep(ctx)
		d.Objects, d.Bytes = d.Objects+more.Objects, d.Bytes+more.Bytes
		if err != nil {
			return d, err
		}
	}
	return d, nil
}

// abolish replaces the manifest with the vacancy of a deleted backup. A live writer may
// replace it meanwhile, so abolish tries again.
func (b *Bucket) abolish(ctx context.Context) (v *vacancy, err error) {
	for range maxMoves {
		m, err := b.Existing(ctx)
		var etag string
		var left vacancy
		switch {
		case err == nil:
			etag, left.DatabaseID, left.Epoch = m.etag, m.DatabaseID, m.Epoch
			for _, o := range m.Origins {
				left.Origins = append(left.Origins, o.Name)
			}
		case errors.As(err, &v) || errors.Is(err, ErrDeleted):
			if _, err := b.Manifest(ctx); !errors.As(err, &v) {
				continue
			}
			if !v.Reserved {
				return v, nil
			}
			etag, left = v.etag, *v
		default:
			return nil, err
		}
		v, err := b.vacate(ctx, etag, left)
		if !errors.Is(err, ErrLost) {
			return v, err
		}
	}
	return nil, fmt.Errorf("%w: its writer replaces the manifest all the time; close it first", ErrLost)
}

// SweepOrigin is Sweep for an origin of this database.
func (b *Bucket) SweepOrigin(ctx context.Context, o Origin) (Deleted, error) {
	return b.Sibling(o.Name).Sweep(ctx)
}

// Sweep deletes what a deleted backup has left and no fork needs any more. It does nothing
// if the backup is not deleted.
func (b *Bucket) Sweep(ctx context.Context) (Deleted, error) {
	_, err := b.Manifest(ctx)
	if v, ok := deleted(err); ok {
		return b.sweep(ctx, v)
	}
	if errors.Is(err, ErrNoBackup) || IsDamage(err) {
		err = nil
	}
	return Deleted{}, err
}

// sweep is Sweep for the backup whose vacancy is v. Once v is replaced, a new backup may
// begin. So sweep deletes only what it has listed before it saw v there for the last time.
func (b *Bucket) sweep(ctx context.Context, v *vacancy) (d Deleted, err error) {
	now := time.Now()
	if v.stored.After(now) {
		now = v.stored
	}
	held, err := b.Held(ctx, v.DatabaseID, now)
	if err != nil {
		return d, err
	}
	if d.Forks = held.Forks; held.Unclear != nil {
		return d, b.GiveUp(ctx, held)
	}
	var garbage []objstore.Info
	prefix := nodesFolder(b.name)
	for info, err := range b.store.List(ctx, prefix, objstore.ListOptions{}) {
		if err != nil {
			return d, err
		}
		o := classify(info, strings.TrimPrefix(info.Key, prefix))
		probing := o.kind == probeObject && o.ModTime.After(v.stored) // a new backup may be about to begin
		if !probing && !held.has(o) {
			garbage = append(garbage, info)
		}
	}
	if _, err := b.Manifest(ctx); !v.still(err) {
		return d, nil
	}
	for _, o := range garbage {
		if err := b.store.Delete(ctx, o.Key); err != nil {
			return d, err
		}
		d.Objects, d.Bytes = d.Objects+1, d.Bytes+o.Size
	}
	return d, b.unpin(ctx, held)
}

// still reports whether v is what a read of the manifest has found.
func (v *vacancy) still(err error) bool {
	now, ok := deleted(err)
	return ok && now.etag == v.etag
}

// unpin removes the pins that no fork needs any more.
func (b *Bucket) unpin(ctx context.Context, h Held) error {
	for _, key := range h.dead {
		if err := b.store.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
