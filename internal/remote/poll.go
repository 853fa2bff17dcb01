package remote

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/objstore"
)

// Newer reads the manifest if it is not the one that the caller has: prev, which may be the
// zero value. It makes one request while nothing changes. changed is false if prev still
// stands.
func (b *Bucket) Newer(ctx context.Context, prev Stored) (now Stored, changed bool, err error) {
	if prev.etag != "" {
		now, err = b.loadNot(ctx, manifestKey(b.name), prev.etag)
		if errors.Is(err, objstore.ErrNotModified) {
			return prev, false, nil
		}
	}
	if prev.etag == "" || err != nil || now.Branch != "" { // Existing says what is wrong, or that nothing is
		now, err = b.Existing(ctx)
	}
	if err != nil {
		return prev, false, err
	}
	return now, now.Nonce != prev.nonce(), nil
}

// nonce distinguishes the manifest from every other; "" for the zero value.
func (s Stored) nonce() string {
	if s.Manifest == nil {
		return ""
	}
	return s.Nonce
}

// Lacks returns an ErrRolledBack if the manifest shows, without any other object, that the
// backup no longer has a point that it confirmed. Kept finds out for certain.
func (m *Manifest) Lacks(seen Point) error {
	now := m.Point()
	if now.Sequence > seen.Sequence && now.Epoch >= seen.Epoch || now.Position == seen.Position && now.Epoch >= seen.Epoch {
		return nil
	}
	return fmt.Errorf("%w: it has confirmed change %d in epoch %d, and is at change %d in epoch %d now", ErrRolledBack, seen.Sequence, seen.Epoch, now.Sequence, now.Epoch)
}

// Through returns the bucket with all its requests going through what layer makes of its
// store.
func (b *Bucket) Through(layer func(objstore.Store) objstore.Store) *Bucket {
	c := *b
	c.store = layer(b.store)
	return &c
}

// Watch tells when the manifest may have been replaced, if the store can tell: see
// [objstore.Watch].
func (b *Bucket) Watch(ctx context.Context) (<-chan struct{}, error) {
	return objstore.Watch(ctx, b.store, manifestKey(b.name))
}
