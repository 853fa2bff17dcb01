package history

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

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
	if q.Follow {
		return follow(q, func(pass Query) iter.Seq2[followed[T], error] {
			return fromLog(ctx, l, pass, following(&q, convert))
		})
	}
	return fromLog(ctx, l, q, convert)
}

func fromLog[T any](ctx context.Context, l Log, q Query, convert func(Change) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		r := &logReader[T]{log: l, query: q, convert: convert, yield: yield}
		err := r.resolve(ctx)
		switch {
		case err != nil || r.none:
		case q.Reverse:
			err = r.backward(ctx)
		default:
			err = r.forward(ctx)
		}
		if err != nil && !errors.Is(err, errStopped) {
			var none T
			yield(none, err)
		}
	}
}

type logReader[T any] struct {
	log     Log
	query   Query
	convert func(Change) T
	yield   func(T, error) bool
	next    int64 // the next change to read
	none    bool  // nothing can be selected
}

// resolve turns the times of the query into sequences, as far as the log in the file has
// them. Since is left if only the bucket can tell; it does not matter for the file then.
func (r *logReader[T]) resolve(ctx context.Context) error {
	q := &r.query
	if q.Since == 0 && q.Until == 0 {
		return nil
	}
	return r.log.Read(ctx, func(c *sqlite.Conn) error {
		log := changelog.View(c)
		oldest, err := log.Oldest()
		if err != nil {
			return err
		}
		if q.Until != 0 {
			last, err := log.LastAt(q.Until, q.To)
			if err != nil {
				return err
			}
			switch {
			case last > 0:
				q.ends(last)
			case oldest > 1 && r.log.Bucket != nil: // it is in the bucket, as all before oldest is
				if q.To == 0 || q.To >= oldest {
					q.To = oldest - 1
				}
			default:
				r.none = true
				return nil
			}
		}
		if q.Since != 0 {
			last, err := log.LastAt(q.Since-1, q.To)
			if err != nil {
				return err
			}
			if last > 0 || oldest <= 1 || r.log.Bucket == nil {
				q.starts(last)
			}
		}
		return nil
	})
}

func (r *logReader[T]) forward(ctx context.Context) error {
	r.next = max(r.query.from(), 1)
	for !r.query.past(r.next) {
		more, err := r.read(ctx)
		if err == nil && !more && r.query.Wait {
			err, more = r.log.Await(ctx, r.next), true
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// read yields some more changes, and reports whether there may be others.
func (r *logReader[T]) read(ctx context.Context) (more bool, err error) {
	var chunk []T
	var end, oldest int64
	err = r.log.Read(ctx, func(c *sqlite.Conn) (err error) {
		chunk, end, oldest, err = r.chunk(ctx, c)
		return err
	})
	if errors.Is(err, changelog.ErrTrimmed) {
		return true, r.trimmed(ctx, oldest)
	}
	if err != nil {
		return false, err
	}
	if err := r.yieldAll(chunk); err != nil {
		return false, err
	}
	if end < r.next {
		return false, nil
	}
	r.next = end + 1
	return true, nil
}

func (r *logReader[T]) yieldAll(chunk []T) error {
	for _, c := range chunk {
		if !r.yield(c, nil) {
			return errStopped
		}
	}
	return nil
}

// ErrGone means that changes are neither in the file nor in the bucket.
var ErrGone = errors.New("changes are gone")

func gone(from, to int64, why string) error {
	if from == to {
		return fmt.Errorf("%w: change %d is no longer in the file, %s", ErrGone, from, why)
	}
	return fmt.Errorf("%w: those from %d to %d are no longer in the file, %s", ErrGone, from, to, why)
}

const noStore = "and there is no store"

// trimmed yields from the bucket the changes before oldest, the first change that the log
// still has.
func (r *logReader[T]) trimmed(ctx context.Context, oldest int64) error {
	first := r.query.from() == 0 && r.next == 1 // start with the first change that is kept
	if r.log.Bucket == nil {
		if first {
			r.next = oldest
			return nil
		}
		return gone(r.next, oldest-1, noStore)
	}
	q := r.query
	if !first {
		q.From = max(q.From, r.next)
	}
	r.next = oldest
	return r.older(ctx, q, oldest, first)
}

// older yields what q selects of the changes before oldest, from the bucket. It is no
// error that there is no backup if optional.
func (r *logReader[T]) older(ctx context.Context, q Query, oldest int64, optional bool) error {
	q.Wait = false
	if q.To == 0 || q.To >= oldest {
		q.To = oldest - 1
	}
	b := &bucketReader[T]{b: r.log.Bucket, query: q, convert: r.convert, yield: r.yield}
	refused, err := b.read(ctx)
	remote.Warn(r.log.Logger, refused)
	switch {
	case b.enough, optional && errors.Is(err, remote.ErrNoBackup):
		return nil
	case err != nil:
		return err
	case q.Reverse || q.Since != 0 || q.Until != 0: // these begin or end where the bucket has something
		return nil
	}
	if end := b.at.Sequence; end < q.to() {
		return gone(max(q.from(), end+1), q.to(), fmt.Sprintf("and the bucket ends with change %d", end))
	}
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
			c := changeOf(t, sequence, e)
			if c.End() < r.next { // a barrier that has replaced what was to be read next counts
				return ctx.Err()
			}
			return errors.Join(r.add(&out, c), ctx.Err())
		})
	})
	return out, end, oldest, err
}

func changeOf(t changelog.Transaction, sequence int64, e *change.Entry) Change {
	return Change{sequence, t.First, t.Time, sequence+e.Width() > t.Last(), e}
}

// add appends c to out if the query selects it.
func (r *logReader[T]) add(out *[]T, c Change) error {
	wanted, err := r.query.wants(c)
	if wanted {
		*out = append(*out, r.convert(c))
	}
	return err
}

// backward yields the changes newest first: those in the file, then those in the bucket.
func (r *logReader[T]) backward(ctx context.Context) error {
	q := r.query
	if r.next = q.to(); r.next == 0 {
		r.next = math.MaxInt64
	}
	for {
		var chunk []T
		var oldest int64
		err := r.log.Read(ctx, func(c *sqlite.Conn) (err error) {
			chunk, oldest, err = r.chunkBack(ctx, c)
			return err
		})
		if err != nil {
			return err
		}
		if err := r.yieldAll(chunk); err != nil {
			return err
		}
		switch {
		case r.next < max(q.from(), 1):
			return nil
		case r.next >= oldest:
			continue
		case r.log.Bucket != nil:
			return r.older(ctx, q, oldest, q.from() == 0)
		case q.from() != 0:
			return gone(q.from(), oldest-1, noStore)
		}
		return nil
	}
}

// chunkBack reads a part of the log that ends with change next, newest first, and moves
// next to before it.
func (r *logReader[T]) chunkBack(ctx context.Context, c *sqlite.Conn) (out []T, oldest int64, err error) {
	log := changelog.View(c)
	if oldest, err = log.Oldest(); err != nil {
		return nil, 0, err
	}
	size, next := 0, oldest-1
	err = log.EachBack(r.next, max(r.query.from(), oldest), func(t changelog.Transaction) error {
		if size >= chunkBytes {
			next = t.Last()
			return changelog.Stop
		}
		size += t.Size()
		begin := len(out)
		err := log.Entries(t, func(sequence int64, e *change.Entry) error {
			return errors.Join(r.add(&out, changeOf(t, sequence, e)), ctx.Err())
		})
		slices.Reverse(out[begin:])
		return err
	})
	r.next = next
	return out, oldest, err
}
