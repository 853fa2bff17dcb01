package rows

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/google/uuid"
)

// ErrNotFound means that no row matches.
var ErrNotFound = errors.New("no such row")

// Repository reads and writes the rows of one table as values of type T. It is safe for
// concurrent use.
type Repository[T any] struct {
	at    engine.Conn
	table *schema.Table
	codec codec[T]
}

// OfStruct returns a repository for the struct T on a table of db, and brings the table up
// to date.
func OfStruct[T any](ctx context.Context, db *engine.DB, defined *Definitions, table string) (*Repository[T], error) {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return nil, &schema.Error{Reason: fmt.Sprintf("%s is not a struct; for Records there is db.Define", t)}
	}
	plan, err := schema.StructOf(t)
	if err != nil {
		return nil, err
	}
	tab, err := defined.define(ctx, db, table, plan.Columns)
	if err != nil {
		return nil, err
	}
	return &Repository[T]{db.Conn(), tab, structCodecOf[T](plan)}, nil
}

// OfMap returns a repository for maps on a table of db, and brings the table up to date.
func OfMap[T ~map[string]any](ctx context.Context, db *engine.DB, defined *Definitions, table string, columns []schema.Column) (*Repository[T], error) {
	tab, err := defined.define(ctx, db, table, columns)
	if err != nil {
		return nil, err
	}
	return &Repository[T]{db.Conn(), tab, mapCodec[T]{tab}}, nil
}

// In returns the same repository within a transaction.
func (r *Repository[T]) In(tx *engine.Tx) *Repository[T] {
	return &Repository[T]{tx.Conn(), r.table, r.codec}
}

// Table returns the definition of the table.
func (r *Repository[T]) Table() *schema.Table { return r.table }

// Filter returns the conditions that rows must match, or an error if the conditions are
// invalid.
type Filter func() ([]schema.Term, error)

// Query selects rows and their order.
type Query struct {
	Where         Filter
	OrderBy       []schema.Order
	Limit, Offset int
}

func (r *Repository[T]) statement(q Query) (schema.Statement, error) {
	terms, err := q.Where()
	if err != nil {
		return schema.Statement{}, err
	}
	return r.table.Select(schema.Query{Terms: terms, OrderBy: q.OrderBy, Limit: q.Limit, Offset: q.Offset})
}

// FindByID returns the row with this id, or ErrNotFound.
func (r *Repository[T]) FindByID(ctx context.Context, id string) (T, error) {
	v, found, err := r.first(ctx, r.table.SelectByID(id))
	if err == nil && !found {
		err = notFound(id)
	}
	return v, err
}

// FindOne returns a row that matches, or ErrNotFound. If several match, it returns any
// one of them.
func (r *Repository[T]) FindOne(ctx context.Context, w Filter) (T, error) {
	var none T
	s, err := r.statement(Query{Where: w, Limit: 1})
	if err != nil {
		return none, err
	}
	v, found, err := r.first(ctx, s)
	if err == nil && !found {
		err = ErrNotFound
	}
	return v, err
}

// Find returns the rows that q selects. If there are none, the slice is empty, not nil.
func (r *Repository[T]) Find(ctx context.Context, q Query) ([]T, error) {
	s, err := r.statement(q)
	if err != nil {
		return nil, err
	}
	var rows list[T]
	decode := r.codec.reader()
	err = r.at.Read(ctx, s.SQL, func(st *sqlite.Stmt) error {
		s.Bind(st)
		return st.Each(func(st *sqlite.Stmt) error {
			v, err := decode(st)
			*rows.next() = *v
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return rows.slice(), nil
}

// Each yields the rows that q selects one by one, without holding them in memory. If
// there is an error, it is the last thing yielded, with a zero T.
func (r *Repository[T]) Each(ctx context.Context, q Query) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var v *T
		var none T
		s, err := r.statement(q)
		if err != nil {
			yield(none, err)
			return
		}
		rows, err := r.at.Open(ctx, s.SQL, func(st *sqlite.Stmt) { s.Bind(st) })
		if err != nil {
			yield(none, err)
			return
		}
		defer rows.End()
		decode := r.codec.reader()
		read := func(st *sqlite.Stmt) (err error) {
			v, err = decode(st)
			return err
		}
		for {
			row, err := rows.Next(read)
			if err != nil {
				yield(none, err)
			}
			if !row || !yield(*v, nil) {
				return
			}
		}
	}
}

// Count returns the number of rows that match or, without w, of all rows. If there are
// several w, all must match.
func (r *Repository[T]) Count(ctx context.Context, w ...Filter) (int64, error) {
	var terms []schema.Term
	for _, one := range w {
		more, err := one()
		if err != nil {
			return 0, err
		}
		terms = append(terms, more...)
	}
	s, err := r.table.Count(terms)
	if err != nil {
		return 0, err
	}
	var n int64
	err = r.at.Read(ctx, s.SQL, func(st *sqlite.Stmt) error {
		s.Bind(st)
		return st.Each(func(st *sqlite.Stmt) error {
			n = st.Int64(0)
			return nil
		})
	})
	return n, err
}

// first returns the first row of a query.
func (r *Repository[T]) first(ctx context.Context, s schema.Statement) (v T, found bool, err error) {
	err = r.at.Read(ctx, s.SQL, func(st *sqlite.Stmt) error {
		s.Bind(st)
		if found, err = st.Step(); err != nil || !found {
			return err
		}
		v, err = r.codec.decode(st)
		return err
	})
	if err != nil {
		var none T
		return none, false, err
	}
	return v, found, nil
}

func notFound(id string) error { return fmt.Errorf("id %q: %w", id, ErrNotFound) }

// now returns the time of a write, in the unit of createdAt and updatedAt.
func now() int64 { return time.Now().UnixMilli() }

// newID returns a new row ID. Must cannot panic: only the system's source of randomness
// can fail, and then Go itself ends the program.
func newID() string { return uuid.Must(uuid.NewV7()).String() }
