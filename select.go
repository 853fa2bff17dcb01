package driftdb

import (
	"context"
	"fmt"
	"reflect"

	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/writer"
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
	values := make([]schema.Value, len(args))
	for i, arg := range args {
		var err error
		if values[i], err = schema.Arg(arg); err != nil {
			return nil, &SchemaError{Reason: fmt.Sprintf("argument %d: %v", i+1, err)}
		}
	}
	at := c.conn()
	if at.Within() {
		if err := writer.Uncontrolled(query); err != nil {
			return nil, fail(err)
		}
	}
	rows := []R{}
	err := at.Read(ctx, query, func(st *sqlite.Stmt) error {
		if n := st.Params(); n != len(values) {
			return &schema.Error{Reason: fmt.Sprintf("the query has %d parameters, but %d arguments are given", n, len(values))}
		}
		schema.Bind(st, 1, values)
		// Step first: it may compile the query anew and change its columns.
		row, err := st.Step()
		if err != nil {
			return err
		}
		decode, err := decoder[R](st)
		if err != nil {
			return err
		}
		for ; row && err == nil; row, err = st.Step() {
			var r R
			rows = append(rows, r)
			if err := decode(&rows[len(rows)-1]); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil {
		return nil, fail(err)
	}
	return rows, nil
}

// decoder returns how the rows of st are read into an R.
func decoder[R any](st *sqlite.Stmt) (func(*R) error, error) {
	names := make([]string, st.ColumnCount())
	for i := range names {
		names[i] = st.ColumnName(i)
	}
	t := reflect.TypeFor[R]()
	switch {
	case t == reflect.TypeFor[Record]():
		return recordDecoder[R](st, names)
	case schema.IsStruct(t):
		plan, err := schema.StructOf(t)
		if err != nil {
			return nil, err
		}
		result, err := plan.Result(names)
		if err != nil {
			return nil, err
		}
		return func(r *R) error { return result.Decode(st, reflect.ValueOf(r).Elem()) }, nil
	}
	scalar, err := schema.ScalarOf(t)
	if err != nil {
		return nil, err
	}
	if len(names) != 1 {
		return nil, &schema.Error{Reason: fmt.Sprintf("a query with %d columns does not fit into %s: use a struct or a Record", len(names), t)}
	}
	return func(r *R) error { return scalar.Decode(st, reflect.ValueOf(r).Elem()) }, nil
}

// recordDecoder is decoder for R = Record.
func recordDecoder[R any](st *sqlite.Stmt, names []string) (func(*R) error, error) {
	booleans := make([]bool, len(names))
	for i := range names {
		booleans[i] = st.DeclType(i) == schema.Boolean.SQL()
	}
	plan, err := schema.RecordsOf(names, booleans)
	if err != nil {
		return nil, err
	}
	return func(r *R) error {
		*any(r).(*Record) = plan.Decode(st)
		return nil
	}, nil
}
