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
	row, err := r.row(&v, now())
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
	rows := make([][]schema.Value, len(vs))
	at := now()
	for i := range vs {
		var err error
		if rows[i], err = r.row(&vs[i], at); err != nil {
			return nil, err
		}
	}
	created := make([]T, len(vs))
	if len(vs) == 0 {
		return created, nil
	}
	err := r.at.Write(ctx, func(c *capture.Conn) error {
		for done := 0; done < len(rows); {
			n, err := r.createSome(c, rows[done:], created[done:])
			if err != nil {
				return err
			}
			done += n
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

// errIgnored is better than a row that was never stored.
var errIgnored = errors.New("the table ignored a new row: it says ON CONFLICT IGNORE, or a trigger RAISE(IGNORE)")

// maxRowsPerInsert and maxParams bound a statement that creates several rows.
// More rows would not be faster; SQLite allows 32766 parameters.
const (
	maxRowsPerInsert = 64
	maxParams        = 2048
)

// createSome creates the first rows with one statement and returns how many.
// The numbers are powers of two, so that few statements are ever compiled.
func (r *Repository[T]) createSome(c *capture.Conn, rows [][]schema.Value, created []T) (int, error) {
	complete := 0
	for complete < min(len(rows), maxRowsPerInsert) && r.table.Complete(rows[complete]) {
		complete++
	}
	if complete <= 1 {
		query := r.insertion(rows[0])
		st, err := c.Cached(query.SQL)
		if err != nil {
			return 0, err
		}
		defer st.Release()
		return 1, r.insert(st, query, rows[0], &created[0])
	}
	n := maxRowsPerInsert
	for n > complete || n > 1 && n*len(rows[0]) > maxParams {
		n /= 2
	}
	st, err := c.Cached(r.table.InsertComplete(n))
	if err != nil {
		return 0, err
	}
	defer st.Release()
	for i, row := range rows[:n] {
		schema.Bind(st, 1+i*len(row), row)
	}
	if err := st.Run(); err != nil {
		return 0, err
	}
	if st.Changes() != int64(n) {
		return 0, errIgnored
	}
	for i, row := range rows[:n] {
		if err := r.codec.decode(schema.Tuple(row), &created[i]); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// Update sets columns of the rows that match, and returns how many rows that were.
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

// Delete removes the rows that match, and returns how many rows that were.
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

// seeded is the row that Upsert creates. A struct's other fields are zero, as
// they are for Create.
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
	if err := r.codec.encode(&zero, rest); err != nil {
		return nil, err
	}
	r.table.Fill(row, rest)
	r.table.Stamp(row, newID, at)
	return row, nil
}

// row is v as values, with what every row has.
func (r *Repository[T]) row(v *T, at int64) ([]schema.Value, error) {
	row := make([]schema.Value, len(r.table.Columns))
	if err := r.codec.encode(v, row); err != nil {
		return nil, err
	}
	r.table.Stamp(row, newID, at)
	return row, nil
}

// insertion is the statement that creates row. It asks for the row back only
// where the database has something to add: RETURNING costs.
func (r *Repository[T]) insertion(row []schema.Value) schema.Statement {
	if r.table.Complete(row) {
		return schema.Statement{SQL: r.table.InsertComplete(1), Args: row}
	}
	return r.table.Insert(row)
}

// insert runs an insertion and reads back what is stored. Where that can only be the row
// itself it is read first: one that cannot be read is not written.
func (r *Repository[T]) insert(st *sqlite.Stmt, query schema.Statement, row []schema.Value, created *T) error {
	query.Bind(st)
	if st.ColumnCount() == 0 {
		if err := r.codec.decode(schema.Tuple(row), created); err != nil {
			return err
		}
	}
	returned, err := r.returned(st, created)
	if err == nil && !returned && (st.ColumnCount() > 0 || st.Changes() == 0) {
		err = errIgnored
	}
	return err
}

// returned reads the first row that a write returns, and runs it to its end,
// where a deferred failure would show.
//
// A row that cannot be read, or whose type panics, was not written: all or nothing.
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
	if err := r.codec.decode(st, v); err != nil {
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

// result is v, or the zero T with an error.
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
