package driftdb

import (
	"context"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	"modernc.org/sqlite/vtab"
)

// Registrar registers what one connection has beyond SQLite itself; see
// [Config.OnConnect]. It is valid during that call only.
//
// A function or a collation that an index, a CHECK or a generated column uses has
// to give the same answer for the same arguments for ever, in every program that
// opens or restores the database: it is part of the data.
//
// The schema of a restored database may call the functions while the restore checks it,
// and without encryption keys whoever can write to the bucket writes that schema: a
// function should not reach outside the database.
type Registrar struct{ r *sqlite.Registrar }

// Function is a SQL function. Either Scalar or Aggregate is set.
//
// Arguments are nil, int64, float64, string or []byte, and belong to the function.
// Results are one of these, or an int or a bool. An error, or a panic, is an error
// of the statement. A function must not use the database: its connection is in use.
type Function struct {
	Name string
	Args int // how many; -1: any number. One name may have a function for each number

	// Deterministic says that the same arguments always give the same result.
	// SQLite wants that of functions in indexes, generated columns and the WHERE of
	// partial indexes.
	Deterministic bool

	Scalar    func(args []any) (any, error)
	Aggregate func() Aggregate // makes one for each group of rows, or window
}

// Aggregate is an aggregate or window function at work. Step takes the next row's
// arguments. Inverse takes those of the row that leaves the window, oldest first;
// without OVER it is not called. Value is the result so far.
type Aggregate = interface {
	Step(args []any) error
	Inverse(args []any) error
	Value() (any, error)
}

// Function registers a SQL function. It replaces one of the same name and number
// of arguments, also one of SQLite's own.
func (r *Registrar) Function(f Function) error { return r.r.Function(sqlite.Function(f)) }

// Collation registers a collation. compare is negative if a comes before b, 0 if
// they are equal, and positive if a comes after b. It must not panic.
func (r *Registrar) Collation(name string, compare func(a, b string) int) error {
	return r.r.Collation(name, compare)
}

// Module registers a virtual-table module. The interface is the driver's own:
// it has too many parts to be worth another one of the same shape. Register
// one pointer each time, not a new one for each connection: the driver
// keeps what it was given for as long as the process lives.
func (r *Registrar) Module(name string, m vtab.Module) error { return r.r.Module(name, m) }

// onConnect is fn as connections want it, or nil.
func onConnect(ctx context.Context, fn func(context.Context, *Registrar) error) func(*sqlite.Registrar) error {
	if fn == nil {
		return nil
	}
	return func(r *sqlite.Registrar) error { return fn(ctx, &Registrar{r}) }
}
