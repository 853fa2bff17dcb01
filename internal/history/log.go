package history

import (
	"context"
	"errors"
	"iter"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Log is the log of an open database, with the bucket that has the trimmed part.
type Log struct {
	// Read runs fn in a read transaction, so that the log is not trimmed meanwhile.
	Read func(ctx context.Context, fn func(*sqlite.Conn) error) error
	// Await returns when the change sequence has been committed, or with an error.
	Await func(ctx context.Context, sequence int64) error
	// Bucket has what was trimmed from the log. Nil: there is no bucket.
	Bucket *remote.Bucket
	Logger event.Log // gets warnings of objects that look like batches but are not in the history
}

// chunkBytes is how many bytes of the log are read at a time. No connection is held
// between two chunks.
const chunkBytes = 1 << 20

// Changes yields the changes that q selects, each converted by convert. It ends after an
// error.
func Changes[T any](ctx context.Context, l Log, q Query, convert func(Change) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		r := &logReader[T]{log: l, query: q, convert: convert, next: max(q.From, 1)}
		for !q.past(r.next) {
			more, err := r.read(ctx, yield)
			if err == nil && !more && q.Wait {
				err, more = l.Await(ctx, r.next), true
			}
			if errors.Is(err, errStopped) || err == nil && !more {
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

type logReader[T any] struct {
	log     Log
	query   Query
	convert func(Change) T
	next    int64 // the next change to read
}

// read yields some more changes, and reports whether there may be others.
func (r *logReader[T]) read(ctx context.Context, yield func(T, error) bool) (more bool, err error) {
	var chunk []T
	var end, oldest int64
	err = r.log.Read(ctx, func(c *sqlite.Conn) (err error) {
		chunk, end, oldest, err = r.chunk(ctx, c)
		return err
	})
	if errors.Is(err, changelog.ErrTrimmed) {
		return true, r.trimmed(ctx, oldest, yield, err)
	}
	if err != nil {
		return false, err
	}
	for _, c := range chunk {
		if !yield(c, nil) {
			return false, errStopped
		}
	}
	if end < r.next {
		return false, nil
	}
	r.next = end + 1
	return true, nil
}

// trimmed yields from the bucket the changes before oldest, the first change that the log
// still has.
func (r *logReader[T]) trimmed(ctx context.Context, oldest int64, yield func(T, error) bool, why error) error {
	first := r.query.From == 0 && r.next == 1 // start with the first change that is kept
	if r.log.Bucket == nil {
		if r.next = oldest; first {
			return nil
		}
		return why
	}
	q := r.query
	q.Wait = false
	if q.To = oldest - 1; !first {
		q.From = r.next
	}
	if r.query.To != 0 {
		q.To = min(q.To, r.query.To)
	}
	for c, err := range Bucket(ctx, r.log.Bucket, q, r.convert, r.log.Logger) {
		if first && errors.Is(err, remote.ErrNoBackup) {
			break // the bucket has no backup
		}
		if err != nil {
			return err
		}
		if !yield(c, nil) {
			return errStopped
		}
	}
	r.next = oldest
	return nil
}

// chunk reads a part of the log, and returns the sequence with which it ends. With
// ErrTrimmed it returns the oldest sequence that the log has.
func (r *logReader[T]) chunk(ctx context.Context, c *sqlite.Conn) (out []T, end, oldest int64, err error) {
	log := changelog.View(c)
	if oldest, err = log.Oldest(); err != nil {
		return nil, 0, 0, err
	}
	if r.next < oldest {
		return nil, 0, oldest, changelog.ErrTrimmed
	}
	first, err := log.Containing(r.next)
	if err != nil {
		return nil, 0, oldest, err
	}
	size := 0
	err = log.Each(first, func(t changelog.Transaction) error {
		if size >= chunkBytes || r.query.past(t.First) {
			return changelog.Stop
		}
		size += t.Size()
		end = t.Last()
		return log.Entries(t, func(sequence int64, e *change.Entry) error {
			c := Change{sequence, t.First, t.Time, e}
			if sequence < r.next {
				return ctx.Err()
			}
			wanted, err := r.query.wants(c)
			if wanted {
				out = append(out, r.convert(c))
			}
			return errors.Join(err, ctx.Err())
		})
	})
	return out, end, oldest, err
}
