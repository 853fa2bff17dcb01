package history

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// pollInterval is how often a bucket is polled for new changes.
const pollInterval = 5 * time.Second

// Bucket yields the changes in b that q selects, each converted by convert. It ends after
// an error. It fetches only the objects that can hold what q selects; see remote.Reading
// for what is verified before a change is yielded, and what at the end. Objects that look
// like batches but are not part of the history are reported to log.
func Bucket[T any](ctx context.Context, b *remote.Bucket, q Query, convert func(Change) T, log event.Log) iter.Seq2[T, error] {
	if q.Follow {
		return follow(q, func(pass Query) iter.Seq2[followed[T], error] {
			return fromBucket(ctx, b, pass, following(&q, convert), log)
		})
	}
	return fromBucket(ctx, b, q, convert, log)
}

func fromBucket[T any](ctx context.Context, b *remote.Bucket, q Query, convert func(Change) T, log event.Log) iter.Seq2[T, error] {
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

	at     remote.Position // how far it has read
	enough bool            // all that the query can select has been yielded
	epoch  int64           // of the manifest that described that history; 0: none read yet
}

// read yields what the bucket has after at.
func (r *bucketReader[T]) read(ctx context.Context) ([]remote.Refusal, error) {
	stored, err := r.b.Existing(ctx)
	if err != nil {
		return nil, err
	}
	m := stored.Manifest
	reading := r.b.NewReading(ctx, m)
	defer reading.Close()
	if r.epoch == 0 {
		r.epoch = m.Epoch
		return r.first(reading)
	}
	if r.epoch != m.Epoch {
		if r.at.Sequence > m.LatestSequence {
			// Changes read beyond the former writer's manifest may be a branch by now. That
			// can be decided only once the new writer has come as far.
			return nil, nil
		}
		if err := r.b.Kept(ctx, m, remote.Point{Position: r.at, Epoch: r.epoch}); err != nil {
			return nil, err
		}
		r.epoch = m.Epoch
	}
	end, err := reading.Continue(r.at, r)
	r.at = end.Position
	return end.Refused, err
}

// first yields what the bucket has.
func (r *bucketReader[T]) first(reading *remote.Reading) ([]remote.Refusal, error) {
	q := &r.query
	if q.Until != 0 {
		last, err := reading.LastAt(q.Until, q.To)
		if err != nil || last == 0 {
			return nil, err
		}
		q.ends(last)
	}
	if q.Since != 0 {
		last, err := reading.LastAt(q.Since-1, q.To)
		if err != nil {
			return nil, err
		}
		q.starts(last)
	}
	if q.to() != 0 && q.to() < q.from() {
		return nil, nil
	}
	read := reading.Forward
	if q.Reverse {
		read = reading.Backward
	}
	end, err := read(q.from(), q.to(), r)
	r.at = end.Position
	return end.Refused, err
}

func (r *bucketReader[T]) Begin() error    { r.batch = r.batch[:0]; return nil }
func (r *bucketReader[T]) Rollback() error { return nil }

func (r *bucketReader[T]) Apply(rec *batch.Record) error {
	c := Change{rec.Sequence, rec.Tx, rec.Time, rec.Last, &rec.Entry}
	wanted, err := r.query.wants(c)
	if wanted {
		r.batch = append(r.batch, r.convert(c))
	}
	return err
}

func (r *bucketReader[T]) Commit(at remote.Position, _ digest.Report) error {
	if r.query.Reverse {
		slices.Reverse(r.batch)
	}
	for _, c := range r.batch {
		if !r.yield(c, nil) {
			return errStopped
		}
	}
	if !r.query.Reverse && r.query.past(at.Sequence+1) {
		r.enough = true
		return errStopped
	}
	return nil
}
