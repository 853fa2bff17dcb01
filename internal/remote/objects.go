package remote

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/driftdb/driftdb-go/objstore"
)

// kind is what an object is by its name.
type kind int

const (
	otherObject    kind = iota
	batchObject         // a batch
	snapshotObject      // a snapshot of the history
	branchObject        // the manifest of a branch
	branchSnapshot      // the snapshot that one names
	probeObject         // what a probe leaves
)

// object is something in a node's folder.
type object struct {
	objstore.Info
	kind  kind
	batch Batch // of a batch: its name; of what belongs to a branch: the branch's; of a snapshot: its node
}

// sealed reports whether the object is one that has been sealed.
func (o object) sealed() bool {
	return o.kind == batchObject || o.kind == snapshotObject || o.kind == branchSnapshot
}

// objects lists what all nodes have stored. A branch's manifest comes before its
// snapshot, and both before the node's batches.
func (b *Bucket) objects(ctx context.Context) iter.Seq2[object, error] {
	return func(yield func(object, error) bool) {
		folder := nodesFolder(b.name)
		for info, err := range b.store.List(ctx, folder, objstore.ListOptions{}) {
			if err != nil {
				yield(object{}, err)
				return
			}
			if !yield(classify(info, strings.TrimPrefix(info.Key, folder)), nil) {
				return
			}
		}
	}
}

// Existing reads the manifest of a backup that is to be read. ErrNoBackup means that there
// is nothing; where only the manifest is missing, that is ErrHeadless.
func (b *Bucket) Existing(ctx context.Context) (Stored, error) {
	m, err := b.Manifest(ctx)
	if errors.Is(err, ErrNoBackup) {
		if err = b.Headless(ctx, func(Batch, int64) bool { return false }); err == nil {
			m, err = b.Manifest(ctx)
		}
	}
	return m, err
}

// ErrHeadless says that the bucket has no manifest, but what one has named.
var ErrHeadless = fmt.Errorf("%w: the manifest is gone", ErrCorrupt)

// Headless says what a bucket without a manifest has that only a manifest can put in
// order: then there was one. It is nil if there is no such thing, or a manifest after all.
// Batches, and snapshots taken at some time, that adrift says to be of no use do not count.
func (b *Bucket) Headless(ctx context.Context, adrift func(o Batch, taken int64) bool) error {
	for o, err := range b.objects(ctx) {
		if err != nil {
			return err
		}
		switch o.kind {
		case otherObject, probeObject:
			continue
		case batchObject, snapshotObject:
			if adrift(o.batch, o.snapshot().Time) {
				continue
			}
		}
		switch _, err := b.Manifest(ctx); {
		case err == nil:
			return nil // another writer has begun the backup since
		case !errors.Is(err, ErrNoBackup):
			return err
		default:
			return fmt.Errorf("%w, but its objects are there (%s, and maybe more): put %s back from the store's old versions or from a copy of the bucket; without one, driftdb repair rebuilds it; or choose another name for a new backup",
				ErrHeadless, o.Key, manifestKey(b.name))
		}
	}
	return nil
}

// classify reads path, the part of an object's key after the nodes' folder.
func classify(info objstore.Info, path string) object {
	o := object{Info: info}
	node, path, _ := strings.Cut(path, "/")
	folder, file, _ := strings.Cut(path, "/")
	var ok bool
	if path == "probe" || strings.HasPrefix(path, "probe-") && path == folder {
		o.kind = probeObject
	}
	switch folder {
	case "logs":
		if o.batch, ok = parseBatch(node, file); ok {
			o.kind, o.batch.Size = batchObject, info.Size
		}
	case "snapshots":
		if strings.HasSuffix(file, ".sqlite") && !strings.Contains(file, "/") {
			o.kind, o.batch.NodeID = snapshotObject, node
		}
	case "branches":
		branch, file, inside := strings.Cut(file, "/")
		if !inside {
			if o.batch, ok = parseBatch(node, branch); ok {
				o.kind = branchObject
			}
		} else if o.batch, ok = parseBatch(node, branch+".json"); ok && strings.HasSuffix(file, ".sqlite") && !strings.Contains(file, "/") {
			o.kind = branchSnapshot
		}
	}
	return o
}
