package syncer

import (
	"context"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// cover finds out which batches are part of wider ones. The parts of a merged batch are due
// together, and it begins where the first of them does. So it is enough to list where the
// due ones begin: all that a busy session has stored would be many requests.
type cover struct {
	bucket *remote.Bucket
	due    map[session]remote.Span // where a session's due batches begin
	listed map[remote.Span][]remote.Batch
}

func newCover(b *remote.Bucket, jobs []changelog.Job, now time.Time) *cover {
	c := &cover{bucket: b, due: map[session]remote.Span{}, listed: map[remote.Span][]remote.Batch{}}
	for _, j := range jobs {
		o, ok := b.ParseBatch(j.Object)
		if !ok || time.UnixMilli(j.Due).After(now) {
			continue
		}
		by := session{o.Epoch, o.NodeID}
		span, known := c.due[by]
		if !known {
			span = remote.Span{NodeID: o.NodeID, Epoch: o.Epoch, From: o.From, To: o.From}
		}
		span.From, span.To = min(span.From, o.From), max(span.To, o.From)
		c.due[by] = span
	}
	return c
}

// has reports whether b is part of a wider batch. Only if it seems not to be, the whole
// session is listed.
func (c *cover) has(ctx context.Context, b remote.Batch) (bool, error) {
	all := remote.Span{NodeID: b.NodeID, Epoch: b.Epoch, From: 1}
	for _, span := range []remote.Span{c.due[session{b.Epoch, b.NodeID}], all} {
		if c.listed[span] == nil {
			var err error
			if c.listed[span], err = c.bucket.Batches(ctx, span); err != nil {
				return false, err
			}
		}
		if remote.Covered(c.listed[span], b) {
			return true, nil
		}
	}
	return false, nil
}
