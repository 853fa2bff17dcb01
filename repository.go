package driftdb

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/google/uuid"
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
type Repository[T any] struct {
	at    engine.Conn
	table *schema.Table
	codec codec[T]
}

// In returns the same repository in a transaction: it sees what the transaction did, and
// what it does becomes part of it. It is valid as long as tx is.
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

// FindOne returns a row that matches, or [ErrNotFound]. If several match, it returns any
// one of them.
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

// Find returns the rows that q selects. If there are none, the slice is empty, not nil.
func (r *Repository[T]) Find(ctx context.Context, q Query) ([]T, error) {
	s, err := q.statement(r.table)
	if err != nil {
		return nil, r.fail(err)
	}
	rows := []T{}
	err = r.at.Read(ctx, s.SQL, func(st *sqlite.Stmt) error {
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
	return func(yield func(T, error) bool) {
		var v, none T
		s, err := q.statement(r.table)
		if err != nil {
			yield(none, r.fail(err))
			return
		}
		rows, err := r.at.Open(ctx, s.SQL, func(st *sqlite.Stmt) { s.Bind(st) })
		if err != nil {
			yield(none, r.fail(err))
			return
		}
		defer rows.End()
		decode := func(st *sqlite.Stmt) error {
			v = none
			return r.codec.decode(st, &v)
		}
		for {
			row, err := rows.Next(decode)
			if err != nil {
				yield(none, r.fail(err))
			}
			if !row || !yield(v, nil) {
				return
			}
		}
	}
}

// Count returns the number of rows that match or, without w, of all rows. If there are
// several w, all must match.
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
	err = r.at.Read(ctx, s.SQL, func(st *sqlite.Stmt) error {
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
	err = r.at.Read(ctx, s.SQL, func(st *sqlite.Stmt) error {
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
