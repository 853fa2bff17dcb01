package remote

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/digest"
)

// Merge stores the contents of parts, consecutive batches of one session, as one batch,
// and returns it. Readers prefer the widest batch, so the parts are no longer needed. The
// entries are copied byte for byte: the chain does not depend on where batches begin and
// end.
func (b *Bucket) Merge(ctx context.Context, databaseID string, parts []Batch) (Batch, error) {
	whole := parts[0]
	whole.To = parts[len(parts)-1].To
	var sealed bytes.Buffer
	if err := b.merge(ctx, &sealed, databaseID, whole, parts); err != nil {
		return whole, fmt.Errorf("merge %d batches into %s: %w", len(parts), BatchKey(b.name, whole), err)
	}
	whole.Size = int64(sealed.Len())
	return whole, b.PutBatch(ctx, databaseID, whole, sealed.Bytes())
}

func (b *Bucket) merge(ctx context.Context, sealed *bytes.Buffer, databaseID string, whole Batch, parts []Batch) error {
	dst, err := b.SealBatch(sealed, databaseID, BatchKey(b.name, whole))
	if err != nil {
		return err
	}
	ahead := newFetcher(ctx, b, databaseID)
	defer ahead.close()
	var out *batch.Writer
	told := digest.Report{}
	for i, o := range parts {
		ahead.want(parts[i:min(i+leastAhead, len(parts))]...)
		data, err := ahead.get(o)
		if err != nil {
			return err
		}
		r, err := b.openBatch(databaseID, o, bytes.NewReader(data))
		if err != nil {
			return err
		}
		if out == nil {
			out = batch.NewWriter(dst, r.Header())
		}
		if err := out.Copy(r); err != nil {
			return err
		}
		maps.Copy(told, r.Trailer().Digests)
		ahead.passed(o.To)
	}
	out.SetDigests(told) // what a reader of all the parts would know
	if _, err := out.Close(); err != nil {
		return err
	}
	return dst.Close()
}

// Covered reports whether batches, all of o's session, include one that is wider than o
// and contains it.
func Covered(batches []Batch, o Batch) bool {
	for _, w := range batches {
		if w.From <= o.From && w.To >= o.To && w.To-w.From > o.To-o.From {
			return true
		}
	}
	return false
}
