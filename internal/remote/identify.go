package remote

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
)

// Doubt is how far the bucket's objects confirm a database id.
type Doubt int

// In increasing order of confidence.
const (
	Refuted Doubt = iota // objects contradict the id
	Untold               // nothing confirms or contradicts it
	Vouched              // an object confirms it
)

// Vouch checks whether the bucket's objects belong to database databaseID. With keys
// every sealed object tells; without keys only the first batch does.
func (b *Bucket) Vouch(ctx context.Context, databaseID string) (Doubt, error) {
	objects, err := b.nodes(ctx)
	if err != nil {
		return Refuted, err
	}
	const most = 100 // contradicting objects; some may be foreign, but hardly all of the first ones
	against := 0
	for _, o := range objects {
		if !o.sealed() || b.opts.Ring == nil && (o.kind != batchObject || o.batch.From != 1) {
			continue
		}
		switch doubt, err := b.doubt(ctx, databaseID, o); {
		case err != nil || doubt == Vouched:
			return doubt, err
		case doubt == Refuted:
			against++
		}
		if against == most {
			break
		}
	}
	if against > 0 {
		return Refuted, nil
	}
	return Untold, nil
}

// doubt is what one object says about databaseID.
func (b *Bucket) doubt(ctx context.Context, databaseID string, o object) (Doubt, error) {
	body, _, err := b.store.Get(ctx, o.Key, objstore.GetOptions{})
	if err != nil {
		return Refuted, err
	}
	defer body.Close()
	src := &source{Reader: body}
	if b.opts.Ring == nil {
		r, err := b.openBatch(databaseID, o.batch, src)
		switch {
		case err != nil: // junk tells nothing
			return Untold, src.err
		case r.Header().Prev == batch.Genesis(databaseID):
			return Vouched, nil
		}
		return Refuted, nil
	}
	plain, err := seal.NewReader(src, b.opts.Ring, b.context(databaseID, o.Key))
	if err == nil {
		_, err = io.ReadFull(plain, make([]byte, 1))
	}
	switch {
	case src.err != nil:
		return Refuted, src.err
	case err == nil:
		return Vouched, nil
	case errors.Is(err, seal.ErrKey): // another key may open it
		return Untold, nil
	}
	return Refuted, nil
}

// DatabaseIDs returns the ids that probe objects and branches' manifests name. They are
// not authenticated.
func (b *Bucket) DatabaseIDs(ctx context.Context) (ids []string, err error) {
	objects, err := b.nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		id := ""
		switch {
		case o.kind == branchObject:
			if own, err := b.load(ctx, o.Key); err == nil {
				id = own.DatabaseID
			}
		case o.kind == probeObject:
			if id, err = b.probed(ctx, o.Key); err != nil {
				return nil, err
			}
		}
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
