package driftdb

import (
	"context"
	"iter"

	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/rows"
)

// Conn is what [Select] runs a query on: a *DB or a *Tx.
type Conn interface {
	conn() engine.Conn
}

func (db *DB) conn() engine.Conn { return db.engine.Conn() }
func (tx *Tx) conn() engine.Conn { return tx.tx.Conn() }

// Select runs a query of your own and returns its rows. If there are none, the slice is
// empty, not nil. R is one of:
//
//   - a struct, whose fields take the columns of the same names (as in
//     [Define]; Base is not needed). Every column needs a field;
//   - [Record];
//   - a basic type, a time.Time, a pointer or a sql.Null, for a query with one
//     column.
//
// The arguments stand for the ? parameters of the query, in order. A bool is bound as 0
// or 1 and a time.Time as Unix milliseconds, the way repositories store them.
//
// On a *DB, the query can only read; on a *Tx, it can also write (RETURNING).
func Select[R any](ctx context.Context, c Conn, query string, args ...any) ([]R, error) {
	found, err := rows.Select[R, Record](ctx, c.conn(), query, args)
	return found, fail(err)
}

// Row is a row of any query.
type Row struct {
	Columns []string // the names, as SQLite gives them; all rows of a query share the slice
	Values  []any    // int64, float64, string, []byte or nil, exactly as stored
}

// SelectEach runs a query of your own, of any shape, and yields its rows one by one,
// without holding them in memory. If there is an error, it is the last thing yielded.
// Arguments are as in [Select], and loops as in [Repository.Each].
func SelectEach(ctx context.Context, c Conn, query string, args ...any) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for r, err := range rows.SelectEach(ctx, c.conn(), query, args) {
			if !yield(Row(r), fail(err)) {
				return
			}
		}
	}
}
