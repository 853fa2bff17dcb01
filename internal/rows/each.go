package rows

import (
	"context"
	"iter"

	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Row is a row of any query.
type Row struct {
	Columns []string // the names, as SQLite gives them; all rows of a query share the slice
	Values  []any    // int64, float64, string, []byte or nil
}

// SelectEach runs a query on at and yields its rows one by one, without holding them in
// memory. If there is an error, it is the last thing yielded.
func SelectEach(ctx context.Context, at engine.Conn, query string, args []any) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		values, err := selectArgs(at, query, args)
		if err != nil {
			yield(Row{}, err)
			return
		}
		var unbound error
		rows, err := at.Open(ctx, query, func(st *sqlite.Stmt) { unbound = bindArgs(st, values) })
		if err != nil {
			yield(Row{}, err)
			return
		}
		defer rows.End()
		if unbound != nil {
			yield(Row{}, unbound)
			return
		}
		var r Row
		decode := func(st *sqlite.Stmt) error {
			r = decodeRow(st, r.Columns)
			return nil
		}
		for {
			row, err := rows.Next(decode)
			if err != nil {
				yield(Row{}, err)
			}
			if !row || !yield(r, nil) {
				return
			}
		}
	}
}

// decodeRow reads the current row of st. names are the columns', or nil in the first row:
// the first step may recompile the query and change them.
func decodeRow(st *sqlite.Stmt, names []string) Row {
	if names == nil {
		names = columnNames(st)
	}
	r := Row{names, make([]any, len(names))}
	for i := range names {
		switch st.Type(i) {
		case schema.KindInteger:
			r.Values[i] = st.Int64(i)
		case schema.KindReal:
			r.Values[i] = st.Float(i)
		case schema.KindText:
			r.Values[i] = st.Text(i)
		case schema.KindBlob:
			r.Values[i] = st.Blob(i)
		}
	}
	return r
}
