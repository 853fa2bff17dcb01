package driftdb

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/google/uuid"
)

// Repository reads and writes the rows of one table as values of type T, a
// struct (see [Define]) or [Record] (see [DB.Define]). It never touches the
// network.
//
// It is safe for concurrent use. Reads run on connections of their own and
// never wait for a writer; writes queue for the one writer. Every method that
// writes does all or nothing.
//
// A row that breaks a constraint is a [*ConstraintError], a misuse of the
// schema a [*SchemaError].
type Repository[T any] struct {
	at    conn
	table *schema.Table
	codec codec[T]
}

// In returns the same repository in a transaction: what it does is part of it,
// and it sees what the transaction did. It is good for as long as tx is.
func (r *Repository[T]) In(tx *Tx) *Repository[T] {
	return &Repository[T]{at: tx.conn(), table: r.table, codec: r.codec}
}

// FindByID returns the row with this id, or [ErrNotFound].
func (r *Repository[T]) FindByID(ctx context.Context, id string) (T, error) {
	v, found, err := r.first(ctx, r.table.SelectByID(id))
	if err == nil && !found {
		err = notFound(id)
	}
	return v, r.fail(err)
}

// FindOne returns a row that matches, or [ErrNotFound]. Where several do, it
// is not promised which one.
func (r *Repository[T]) FindOne(ctx context.Context, w Where) (T, error) {
	var none T
	s, err := Query{Where: w, Limit: 1}.statement(r.table)
	if err != nil {
		return none, r.fail(err)
	}
	v, found, err := r.first(ctx, s)
	if err == nil && !found {
		err = ErrNotFound
	}
	return v, r.fail(err)
}

// Find returns the rows that q asks for. The slice is empty, not nil, when
// there are none.
func (r *Repository[T]) Find(ctx context.Context, q Query) ([]T, error) {
	s, err := q.statement(r.table)
	if err != nil {
		return nil, r.fail(err)
	}
	rows := []T{}
	err = r.at.read(ctx, s.SQL, func(st *sqlite.Stmt) error {
		s.Bind(st)
		return st.Each(func(st *sqlite.Stmt) error {
			var v T
			rows = append(rows, v)
			return r.codec.decode(st, &rows[len(rows)-1])
		})
	})
	if err != nil {
		return nil, r.fail(err)
	}
	return rows, nil
}

// Filter returns the rows that match: Find without order and limit.
func (r *Repository[T]) Filter(ctx context.Context, w Where) ([]T, error) {
	return r.Find(ctx, Query{Where: w})
}

// Each returns the rows that q asks for one by one, without holding them in
// memory. An error is the last thing that it yields, with a zero T.
//
// The loop reads one state of the database, however long it takes, and may
// write to it; inside a transaction it is not promised whether it sees rows
// that it writes. Breaking off ends the read. [DB.Close] does not wait for it:
// the next row is then [ErrClosed].
func (r *Repository[T]) Each(ctx context.Context, q Query) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var v, none T
		s, err := q.statement(r.table)
		if err != nil {
			yield(none, r.fail(err))
			return
		}
		rows, err := r.at.open(ctx, s.SQL, func(st *sqlite.Stmt) { s.Bind(st) })
		if err != nil {
			yield(none, r.fail(err))
			return
		}
		defer rows.end()
		decode := func(st *sqlite.Stmt) error {
			v = none
			return r.codec.decode(st, &v)
		}
		for {
			row, err := rows.next(decode)
			if err != nil {
				yield(none, r.fail(err))
			}
			if !row || !yield(v, nil) {
				return
			}
		}
	}
}

// Count returns the number of rows that match, or of all rows. Of several w,
// all must hold.
func (r *Repository[T]) Count(ctx context.Context, w ...Where) (int64, error) {
	var terms []schema.Term
	for _, one := range w {
		more, err := one.terms()
		if err != nil {
			return 0, r.fail(err)
		}
		terms = append(terms, more...)
	}
	s, err := r.table.Count(terms)
	if err != nil {
		return 0, r.fail(err)
	}
	var n int64
	err = r.at.read(ctx, s.SQL, func(st *sqlite.Stmt) error {
		s.Bind(st)
		return st.Each(func(st *sqlite.Stmt) error {
			n = st.Int64(0)
			return nil
		})
	})
	return n, r.fail(err)
}

// first returns the first row of a query.
func (r *Repository[T]) first(ctx context.Context, s schema.Statement) (v T, found bool, err error) {
	err = r.at.read(ctx, s.SQL, func(st *sqlite.Stmt) error {
		s.Bind(st)
		if found, err = st.Step(); err != nil || !found {
			return err
		}
		return r.codec.decode(st, &v)
	})
	if err != nil {
		var none T
		return none, false, err
	}
	return v, found, nil
}

// fail is err as users get it.
func (r *Repository[T]) fail(err error) error {
	err = failAt(r.table.Name, err)
	if e, ok := err.(*ConstraintError); ok && e.Kind == ConstraintCheck {
		_, expression, _ := strings.Cut(e.Err.Error(), constraintFailed)
		e.Column = r.table.OnlyColumnIn(expression)
	}
	return err
}

func notFound(id string) error { return fmt.Errorf("id %q: %w", id, ErrNotFound) }

// now is the time of a write, in the unit of createdAt and updatedAt.
func now() int64 { return time.Now().UnixMilli() }

// newID makes the id of a row. Must does not panic: the only thing that can
// fail is the system's source of randomness, and Go ends the program itself
// when that does.
func newID() string { return uuid.Must(uuid.NewV7()).String() }
