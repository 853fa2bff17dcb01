package rows

import (
	"context"
	"fmt"
	"reflect"

	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/writer"
)

// Select runs a query on at and returns its rows as values of type R: a struct, M, or a
// type that holds a single value.
func Select[R any, M ~map[string]any](ctx context.Context, at engine.Conn, query string, args []any) ([]R, error) {
	values, err := selectArgs(at, query, args)
	if err != nil {
		return nil, err
	}
	var rows list[R]
	err = at.Read(ctx, query, func(st *sqlite.Stmt) error {
		if err := bindArgs(st, values); err != nil {
			return err
		}
		// Step first: it may recompile the query and change its columns.
		row, err := st.Step()
		if err != nil {
			return err
		}
		decode, err := decoder[R, M](st)
		if err != nil {
			return err
		}
		for ; row && err == nil; row, err = st.Step() {
			if err := decode(rows.next()); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows.slice(), nil
}

// selectArgs converts the arguments of a query, and refuses a query that a transaction
// must not run.
func selectArgs(at engine.Conn, query string, args []any) ([]schema.Value, error) {
	values := make([]schema.Value, len(args))
	for i, arg := range args {
		var err error
		if values[i], err = schema.Arg(arg); err != nil {
			return nil, &schema.Error{Reason: fmt.Sprintf("argument %d: %v", i+1, err)}
		}
	}
	if at.Within() {
		return values, writer.Uncontrolled(query)
	}
	return values, nil
}

// bindArgs binds as many values as the query has parameters.
func bindArgs(st *sqlite.Stmt, values []schema.Value) error {
	if n := st.Params(); n != len(values) {
		return &schema.Error{Reason: fmt.Sprintf("the query has %d parameters, but %d arguments are given", n, len(values))}
	}
	schema.Bind(st, 1, values)
	return nil
}

func columnNames(st *sqlite.Stmt) []string {
	names := make([]string, st.ColumnCount())
	for i := range names {
		names[i] = st.ColumnName(i)
	}
	return names
}

// decoder returns a function that reads a row of st into an R.
func decoder[R any, M ~map[string]any](st *sqlite.Stmt) (func(*R) error, error) {
	names := columnNames(st)
	t := reflect.TypeFor[R]()
	switch {
	case t == reflect.TypeFor[M]():
		return recordDecoder[R, M](st, names)
	case schema.IsStruct(t):
		plan, err := schema.StructOf(t)
		if err != nil {
			return nil, err
		}
		result, err := plan.Result(names)
		if err != nil {
			return nil, err
		}
		var v, zero R
		targets := result.Targets(reflect.ValueOf(&v).Elem())
		return func(r *R) error {
			v = zero
			err := result.Decode(st, targets)
			*r = v
			return err
		}, nil
	}
	scalar, err := schema.ScalarOf(t)
	if err != nil {
		return nil, err
	}
	if len(names) != 1 {
		return nil, &schema.Error{Reason: fmt.Sprintf("a query with %d columns does not fit into %s: use a struct or a Record", len(names), t)}
	}
	var v R
	targets := scalar.Targets(reflect.ValueOf(&v).Elem())
	return func(r *R) error {
		err := scalar.Decode(st, targets)
		*r = v
		return err
	}, nil
}

// recordDecoder is decoder for R = M.
func recordDecoder[R any, M ~map[string]any](st *sqlite.Stmt, names []string) (func(*R) error, error) {
	booleans := make([]bool, len(names))
	for i := range names {
		booleans[i] = st.DeclType(i) == schema.Boolean.SQL()
	}
	plan, err := schema.RecordsOf(names, booleans)
	if err != nil {
		return nil, err
	}
	return func(r *R) error {
		*any(r).(*M) = plan.Decode(st)
		return nil
	}, nil
}
