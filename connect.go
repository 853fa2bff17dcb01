package driftdb

import (
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"modernc.org/sqlite/vtab"
)

// Registrar registers what a connection has in addition to SQLite itself; see
// [Config.OnConnect]. It is valid only during that call.
//
// A function or collation that an index, a CHECK or a generated column uses is part of
// the data: for the same arguments it must always give the same answer, in every program
// that opens or restores the database.
//
// A restored database's schema may call the functions while the restore checks it, and
// without encryption keys, whoever can write to the bucket controls that schema: a
// function should not reach outside the database.
type Registrar struct{ r *sqlite.Registrar }

// Function is a SQL function. Set either Scalar or Aggregate.
//
// Arguments are nil, int64, float64, string or []byte, and the function may keep them.
// Results are one of these types, or an int or a bool. An error or a panic fails the
// statement. A function must not use the database, because its connection is in use.
type Function struct {
	Name string
	Args int // how many; -1: any number. A name may have one function for each number

	// Deterministic declares that the same arguments always give the same result. SQLite
	// requires it for functions in indexes, generated columns and the WHERE of partial
	// indexes.
	Deterministic bool

	Scalar    func(args []any) (any, error)
	Aggregate func() Aggregate // called for each group of rows, or window
}

// Aggregate is the state of an aggregate or window function. Step gets the next row's
// arguments. Inverse gets those of the row that leaves the window, oldest first; it is
// only called with OVER. Value returns the result so far.
type Aggregate = interface {
	Step(args []any) error
	Inverse(args []any) error
	Value() (any, error)
}

// Function registers a SQL function. It replaces one with the same name and number of
// arguments, even one of SQLite's own.
func (r *Registrar) Function(f Function) error { return r.r.Function(sqlite.Function(f)) }

// Collation registers a collation. compare returns a negative number if a sorts before b,
// 0 if they are equal, and a positive number if a sorts after b. It must not panic.
func (r *Registrar) Collation(name string, compare func(a, b string) int) error {
	return r.r.Collation(name, compare)
}

// Module registers a virtual-table module. It uses the driver's interface, because a copy
// of something that large would gain nothing. Register the same pointer each time, not a
// new one for each connection: the driver keeps every one for the life of the process.
func (r *Registrar) Module(name string, m vtab.Module) error { return r.r.Module(name, m) }
