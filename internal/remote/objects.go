package remote

import (
	"context"
	"iter"
	"strings"

	"github.com/driftdb/driftdb-go/objstore"
)

// object is something in a node's folder.
type object struct {
	objstore.Info
	batch    Batch // if isBatch
	isBatch  bool
	snapshot bool
}

// sealed says whether the object is one that has been sealed.
func (o object) sealed() bool { return o.isBatch || o.snapshot }

// objects lists what all nodes have stored.
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

// classify reads path, the part of an object's key after the nodes' folder.
func classify(info objstore.Info, path string) object {
	o := object{Info: info}
	node, path, _ := strings.Cut(path, "/")
	kind, file, _ := strings.Cut(path, "/")
	switch kind {
	case "logs":
		o.batch, o.isBatch = parseBatch(node, file)
		o.batch.Size = info.Size
	case "snapshots":
		o.snapshot = strings.HasSuffix(file, ".sqlite") && !strings.Contains(file, "/")
	}
	return o
}
