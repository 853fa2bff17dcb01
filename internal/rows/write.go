package rows

import (
	"context"
	"errors"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Create stores v as a new row and returns the row as stored: with its id and times,
// which are generated where v has none, and with the defaults of columns that were left
// out. Triggers of your own may change the row after that.
func (r *Repository[T]) Create(ctx context.Context, v T) (T, error) {
	var created T
	row, err := r.row(v, now())
	if err != nil {
		return created, err
	}
	query := r.insertion(row)
	err = r.at.WriteOne(ctx, query.SQL, func(st *sqlite.Stmt) error {
		return r.insert(st, query, row, &created)
	})
	return result(created, err)
}

// CreateMany stores vs as new rows in one transaction. It returns them as Create does, in
// the same order.
func (r *Repository[T]) CreateMany(ctx context.Context, vs []T) ([]T, error) {
	width := len(r.table.Columns)
	values := make([]schema.Value, len(vs)*width)
	row := func(i int) []schema.Value { return values[i*width : (i+1)*width] }
	at := now()
	for i := range vs {
		if err := r.fill(row(i), vs[i], at); err != nil {
			return nil, err
		}
	}
	created := make([]T, len(vs))
	if len(vs) == 0 {
		return created, nil
	}
	err := r.at.Write(ctx, func(c *capture.Conn) error {
		for i := range created {
			if err := r.createOne(c, row(i), &created[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

// errIgnored keeps Create from returning a row that was never stored.
var errIgnored = errors.New("the table ignored a new row: it says ON CONFLICT IGNORE, or a trigger RAISE(IGNORE)")

// createOne creates one row of several. A statement for more rows would be slower: so that it
// can be undone, SQLite copies each page before the statement changes it, to a file if there
// are many.
func (r *Repository[T]) createOne(c *capture.Conn, row []schema.Value, created *T) error {
	query := r.insertion(row)
	st, err := c.Cached(query.SQL)
	if err != nil {
		return err
	}
	defer st.Release()
	return r.insert(st, query, row, created)
}

// Update sets columns of the rows that match, and returns the number of these rows.
func (r *Repository[T]) Update(ctx context.Context, w Filter, s map[string]any) (int64, error) {
	terms, err := w()
	if err != nil {
		return 0, err
	}
	query, err := r.table.Update(s, now(), terms, false)
	if err != nil {
		return 0, err
	}
	return r.change(ctx, query)
}

// UpdateByID sets columns of the row with this id and returns the updated row, or
// ErrNotFound.
func (r *Repository[T]) UpdateByID(ctx context.Context, id string, s map[string]any) (T, error) {
	var updated T
	query, err := r.table.UpdateByID(s, now(), id)
	if err != nil {
		return updated, err
	}
	err = r.at.WriteOne(ctx, query.SQL, func(st *sqlite.Stmt) error {
		query.Bind(st)
		found, err := r.returned(st, &updated)
		if err == nil && !found {
			err = notFound(id)
		}
		return err
	})
	return result(updated, err)
}

// Delete removes the rows that match, and returns the number of these rows.
func (r *Repository[T]) Delete(ctx context.Context, w Filter) (int64, error) {
	terms, err := w()
	if err != nil {
		return 0, err
	}
	query, err := r.table.Delete(terms)
	if err != nil {
		return 0, err
	}
	return r.change(ctx, query)
}

// DeleteByID removes the row with this id. It returns false if there is none.
func (r *Repository[T]) DeleteByID(ctx context.Context, id string) (bool, error) {
	query, err := r.table.Delete(byID(id))
	if err != nil {
		return false, err
	}
	n, err := r.change(ctx, query)
	return n > 0, err
}

// Upsert sets columns of the rows that match. If none do, it creates a row from s and
// from the columns that w compares for equality. It returns the row, or one of them if
// several match. Both steps are one transaction.
func (r *Repository[T]) Upsert(ctx context.Context, w Filter, s map[string]any) (T, error) {
	var stored T
	terms, err := w()
	if err != nil {
		return stored, err
	}
	at := now()
	update, err := r.table.Update(s, at, terms, true)
	if err != nil {
		return stored, err
	}
	row, err := r.seeded(s, terms, at)
	if err != nil {
		return stored, err
	}
	insert := r.insertion(row)
	err = r.at.Write(ctx, func(c *capture.Conn) error {
		st, err := c.Cached(update.SQL)
		if err != nil {
			return err
		}
		defer st.Release()
		update.Bind(st)
		if found, err := r.returned(st, &stored); err != nil || found {
			return err
		}
		if st, err = c.Cached(insert.SQL); err != nil {
			return err
		}
		defer st.Release()
		return r.insert(st, insert, row, &stored)
	})
	return result(stored, err)
}

// seeded returns the row that Upsert creates. A struct's other fields are zero, as they
// are in Create.
func (r *Repository[T]) seeded(s map[string]any, terms []schema.Term, at int64) ([]schema.Value, error) {
	row := make([]schema.Value, len(r.table.Columns))
	if err := r.table.EncodeRecord(s, row); err != nil {
		return nil, err
	}
	if err := r.table.Seed(row, terms); err != nil {
		return nil, err
	}
	rest := make([]schema.Value, len(row))
	var zero T
	if err := r.codec.encode(zero, rest); err != nil {
		return nil, err
	}
	r.table.Fill(row, rest)
	r.table.Stamp(row, newID, at)
	return row, nil
}

// row returns v as values, with the id and times that every row has.
func (r *Repository[T]) row(v T, at int64) ([]schema.Value, error) {
	row := make([]schema.Value, len(r.table.Columns))
	return row, r.fill(row, v, at)
}

// fill sets row to v's values.
func (r *Repository[T]) fill(row []schema.Value, v T, at int64) error {
	if err := r.codec.encode(v, row); err != nil {
		return err
	}
	r.table.Stamp(row, newID, at)
	return nil
}

// insertion returns the statement that creates row. It asks for the stored row only where
// the database adds something, because RETURNING is slow.
func (r *Repository[T]) insertion(row []schema.Value) schema.Statement {
	if r.table.Complete(row) {
		return schema.Statement{SQL: r.table.InsertComplete(), Args: row}
	}
	return r.table.Insert(row)
}

// insert runs an insertion and returns the stored row in created. If that can only be row
// itself, insert decodes it first, so that a row that cannot be read is not written.
func (r *Repository[T]) insert(st *sqlite.Stmt, query schema.Statement, row []schema.Value, created *T) error {
	query.Bind(st)
	if st.ColumnCount() == 0 {
		var err error
		if *created, err = r.codec.decode(schema.Tuple(row)); err != nil {
			return err
		}
	}
	returned, err := r.returned(st, created)
	if err == nil && !returned && (st.ColumnCount() > 0 || st.Changes() == 0) {
		err = errIgnored
	}
	return err
}

// returned reads the first row that a write returns, and then runs the statement to its
// end, where a deferred failure would show.
//
// If the row cannot be read, or its type panics, the write is undone: all or nothing.
func (r *Repository[T]) returned(st *sqlite.Stmt, v *T) (found bool, err error) {
	row, err := st.Step()
	if err != nil || !row {
		return false, err
	}
	defer func() {
		if !found {
			st.Abort()
		}
	}()
	if *v, err = r.codec.decode(st); err != nil {
		return false, err
	}
	return true, st.Run()
}

// change runs one statement and returns how many rows it changed.
func (r *Repository[T]) change(ctx context.Context, query schema.Statement) (int64, error) {
	var n int64
	err := r.at.WriteOne(ctx, query.SQL, func(st *sqlite.Stmt) error {
		query.Bind(st)
		if err := st.Run(); err != nil {
			return err
		}
		n = st.Changes()
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// result returns v, or the zero T with an error.
func result[T any](v T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return v, nil
}

func byID(id string) []schema.Term {
	return []schema.Term{{Column: schema.ID, Op: schema.Eq, Value: id}}
}
