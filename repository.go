package driftdb

import (
	"context"
	"iter"

	"github.com/driftdb/driftdb-go/internal/rows"
)

// Repository reads and writes the rows of one table as values of type T, which is a
// struct (see [Define]) or [Record] (see [DB.Define]). It never uses the network.
//
// It is safe for concurrent use. Reads have connections of their own and never wait for a
// writer; writes queue for the one writer. Every method that writes does everything or
// nothing.
//
// A row that violates a constraint is a [*ConstraintError]; a definition or value that
// does not fit the table is a [*SchemaError].
type Repository[T any] struct{ rows *rows.Repository[T] }

// In returns the same repository in a transaction: it sees what the transaction did, and
// what it does becomes part of it. It is valid as long as tx is.
func (r *Repository[T]) In(tx *Tx) *Repository[T] { return &Repository[T]{r.rows.In(tx.tx)} }

// FindByID returns the row with this id, or [ErrNotFound].
func (r *Repository[T]) FindByID(ctx context.Context, id string) (T, error) {
	return r.one(r.rows.FindByID(ctx, id))
}

// FindOne returns a row that matches, or [ErrNotFound]. If several match, it returns any
// one of them.
func (r *Repository[T]) FindOne(ctx context.Context, w Where) (T, error) {
	return r.one(r.rows.FindOne(ctx, w.terms))
}

// Find returns the rows that q selects. If there are none, the slice is empty, not nil.
func (r *Repository[T]) Find(ctx context.Context, q Query) ([]T, error) {
	return r.many(r.rows.Find(ctx, q.internal()))
}

// Filter returns the rows that match: it is Find without an order and a limit.
func (r *Repository[T]) Filter(ctx context.Context, w Where) ([]T, error) {
	return r.Find(ctx, Query{Where: w})
}

// Each yields the rows that q selects one by one, without holding them in memory. If
// there is an error, it is the last thing yielded, with a zero T.
//
// The loop reads one state of the database, however long it takes, and may write to it;
// inside a transaction, it may or may not see rows that it writes. Leaving the loop ends
// the read. [DB.Close] does not wait for the loop: the next row is then [ErrClosed].
func (r *Repository[T]) Each(ctx context.Context, q Query) iter.Seq2[T, error] {
	return failing(r.rows.Each(ctx, q.internal()), r.fail)
}

// Count returns the number of rows that match or, without w, of all rows. If there are
// several w, all must match.
func (r *Repository[T]) Count(ctx context.Context, w ...Where) (int64, error) {
	all := make([]rows.Filter, len(w))
	for i, one := range w {
		all[i] = one.terms
	}
	return r.number(r.rows.Count(ctx, all...))
}

// Create stores v as a new row and returns the row as stored: with its id and times,
// which are generated where v has none, and with the defaults of columns that were left
// out. Triggers of your own may change the row after that.
func (r *Repository[T]) Create(ctx context.Context, v T) (T, error) {
	return r.one(r.rows.Create(ctx, v))
}

// CreateMany stores vs as new rows in one transaction. It returns them as Create does, in
// the same order.
func (r *Repository[T]) CreateMany(ctx context.Context, vs []T) ([]T, error) {
	return r.many(r.rows.CreateMany(ctx, vs))
}

// Update sets columns of the rows that match, and returns how many rows that were. An
// empty Where is [ErrEmptyWhere]; use [All] for every row.
func (r *Repository[T]) Update(ctx context.Context, w Where, s Set) (int64, error) {
	return r.number(r.rows.Update(ctx, w.narrow, s))
}

// UpdateByID sets columns of the row with this id and returns the updated row, or
// [ErrNotFound].
func (r *Repository[T]) UpdateByID(ctx context.Context, id string, s Set) (T, error) {
	return r.one(r.rows.UpdateByID(ctx, id, s))
}

// Delete removes the rows that match, and returns how many rows that were. An empty Where
// is [ErrEmptyWhere]; use [All] for every row.
func (r *Repository[T]) Delete(ctx context.Context, w Where) (int64, error) {
	return r.number(r.rows.Delete(ctx, w.narrow))
}

// DeleteByID removes the row with this id. It returns false if there is none.
func (r *Repository[T]) DeleteByID(ctx context.Context, id string) (bool, error) {
	deleted, err := r.rows.DeleteByID(ctx, id)
	return deleted, r.fail(err)
}

// Upsert sets columns of the rows that match. If none do, it creates a row from s and
// from the columns that w compares for equality. It returns the row, or one of them if
// several match. Both steps are one transaction. An empty Where is [ErrEmptyWhere].
func (r *Repository[T]) Upsert(ctx context.Context, w Where, s Set) (T, error) {
	return r.one(r.rows.Upsert(ctx, w.narrow, s))
}

func (r *Repository[T]) one(v T, err error) (T, error) { return v, r.fail(err) }

func (r *Repository[T]) many(vs []T, err error) ([]T, error) { return vs, r.fail(err) }

func (r *Repository[T]) number(n int64, err error) (int64, error) { return n, r.fail(err) }

// fail converts err for users, and names the column that a CHECK is about.
func (r *Repository[T]) fail(err error) error {
	t := r.rows.Table()
	err = failAt(t.Name, err)
	if e, ok := err.(*ConstraintError); ok && e.Kind == ConstraintCheck {
		e.Column = t.OnlyColumnIn(rows.Expression(e.Err))
	}
	return err
}
