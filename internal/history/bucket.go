package history

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// pollInterval is how often a bucket is polled for new changes.
const pollInterval = 5 * time.Second

// Bucket yields the changes in b that q selects, each converted by convert. It ends after
// an error. A batch is verified before any of its changes is yielded. Objects that look
// like batches but are not part of the history are reported to log.
func Bucket[T any](ctx context.Context, b *remote.Bucket, q Query, convert func(Change) T, log event.Log) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		r := &bucketReader[T]{b: b, query: q, convert: convert, yield: yield}
		for {
			refused, err := r.read(ctx)
			remote.Warn(log, refused)
			if err == nil && q.Wait && !q.past(r.at.Sequence+1) {
				err = pause(ctx, pollInterval)
			} else if err == nil || errors.Is(err, errStopped) {
				return
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// errStopped ends a walk: the consumer has stopped, or has all that it asked for.
var errStopped = errors.New("no more changes are wanted")

// bucketReader is the sink of a walk. It collects the changes of a batch, and yields them
// once the batch is verified.
type bucketReader[T any] struct {
	b       *remote.Bucket
	query   Query
	convert func(Change) T
	yield   func(T, error) bool
	batch   []T

	at    remote.Position // how far it has read
	epoch int64           // of the manifest that described that history; 0: none read yet
}

// read yields what the bucket has after at.
func (r *bucketReader[T]) read(ctx context.Context) ([]remote.Refusal, error) {
	stored, err := r.b.Existing(ctx)
	if err != nil {
		return nil, err
	}
	m := stored.Manifest
	switch {
	case r.epoch == 0:
		r.at = start(m, r.query.From)
	case r.epoch != m.Epoch && r.at.Sequence > m.LatestSequence:
		// Changes read beyond the former writer's manifest may be a branch by now. That can
		// be decided only once the new writer has come as far.
		return nil, nil
	case r.epoch != m.Epoch:
		if err := r.b.Kept(ctx, m, remote.Point{Position: r.at, Epoch: r.epoch}); err != nil {
			return nil, err
		}
	}
	r.epoch = m.Epoch
	end, err := r.b.Walk(ctx, m, r.at, remote.Target{}, r)
	r.at = end.Position
	return end.Refused, err
}

// start returns the latest position before the change from at which a walk can begin or,
// if from is 0, the first such position.
func start(m *remote.Manifest, from int64) remote.Position {
	at := m.Genesis()
	for _, s := range m.Snapshots {
		if s.Sequence < from || from == 0 && at.Sequence < m.Begins() {
			at = remote.Position{Sequence: s.Sequence, Chain: s.Chain}
		}
	}
	return at
}

func (r *bucketReader[T]) Begin() error    { r.batch = r.batch[:0]; return nil }
func (r *bucketReader[T]) Rollback() error { return nil }

func (r *bucketReader[T]) Apply(rec *batch.Record) error {
	c := Change{rec.Sequence, rec.Tx, rec.Time, &rec.Entry}
	wanted, err := r.query.wants(c)
	if wanted {
		r.batch = append(r.batch, r.convert(c))
	}
	return err
}

func (r *bucketReader[T]) Commit(at remote.Position, _ digest.Report) error {
	for _, c := range r.batch {
		if !r.yield(c, nil) {
			return errStopped
		}
	}
	if r.query.past(at.Sequence + 1) {
		return errStopped
	}
	return nil
}
