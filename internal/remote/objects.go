package remote

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/driftdb/driftdb-go/objstore"
)

// kind is the kind of an object, by its name.
type kind int

const (
	otherObject    kind = iota
	batchObject         // a batch
	snapshotObject      // a snapshot of the history
	branchObject        // the manifest of a branch
	branchSnapshot      // the snapshot that a branch's manifest names
	probeObject         // left by a probe
)

// object is an object in a node's folder.
type object struct {
	objstore.Info
	kind  kind
	batch Batch // for a batch, its name; for a branch's objects, the branch; for a snapshot, only the node
}

// sealed reports whether the object is of a kind that is sealed in the database's
// context.
func (o object) sealed() bool {
	return o.kind == batchObject || o.kind == snapshotObject || o.kind == branchSnapshot
}

// objects lists what all nodes have stored. A branch's manifest comes before its
// snapshot, and both come before the node's batches.
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

// Existing reads the manifest of a backup that is to be read. ErrNoBackup means that
// there is no backup, ErrHeadless that only its manifest is missing.
func (b *Bucket) Existing(ctx context.Context) (Stored, error) {
	m, err := b.Manifest(ctx)
	if errors.Is(err, ErrNoBackup) {
		if err = b.Headless(ctx, func(Batch, int64) bool { return false }); err == nil {
			m, err = b.Manifest(ctx)
		}
	}
	return m, err
}

// ErrHeadless means that the bucket has no manifest, but has objects that a manifest
// named.
var ErrHeadless = fmt.Errorf("%w: the manifest is gone", ErrCorrupt)

// Headless returns an error if a bucket without a manifest has objects that only a
// manifest can put in order, so that there must have been one. It returns nil if there
// are none, or if there is a manifest after all. Batches and snapshots (taken at the
// given time) for which adrift returns true do not count.
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
		case errors.Is(err, ErrDeleted):
			return fmt.Errorf("%w. %w: forks may still use its objects (%s, and maybe more). Choose another name; driftdb delete removes what no fork uses", err, ErrNameTaken, o.Key)
		case errors.Is(err, ErrNameTaken):
			return err
		case !errors.Is(err, ErrNoBackup):
			return err
		default:
			return fmt.Errorf("%w, but its objects are there (%s, and maybe more): put %s back from the store's old versions or from a copy of the bucket; without one, driftdb repair rebuilds it; or choose another name for a new backup",
				ErrHeadless, o.Key, manifestKey(b.name))
		}
	}
	return nil
}

// classify parses path, the part of an object's key after the nodes' folder.
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
