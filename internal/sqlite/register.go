package sqlite

import (
	"fmt"
	"strings"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
	"modernc.org/sqlite/vtab"
)

// Function is a SQL function. Either Scalar or Aggregate is set.
//
// The driver's own registration is not used: it keeps a function for as long as
// the process lives. What is registered here ends with its connection.
type Function struct {
	Name          string
	Args          int // -1: any number
	Deterministic bool
	Scalar        func(args []any) (any, error)
	Aggregate     func() Aggregate
}

// Aggregate is one evaluation of an aggregate or window function.
type Aggregate = interface {
	Step(args []any) error
	Inverse(args []any) error
	Value() (any, error)
}

// Registrar collects what a connection that is about to be opened gets.
type Registrar struct {
	functions  []Function
	collations []collation
	modules    []module
}

type collation struct {
	name    string
	compare func(a, b string) int
}

// module is a key of maps, so impl is comparable.
type module struct {
	name string
	impl vtab.Module
}

// Function gives the connection a SQL function. One of the same name and number of
// arguments is replaced, also one of SQLite's own.
func (r *Registrar) Function(f Function) error {
	switch {
	case !namable(f.Name):
		return fmt.Errorf("a function cannot have the name %q", f.Name)
	case (f.Scalar == nil) == (f.Aggregate == nil):
		return fmt.Errorf("function %s: set either Scalar or Aggregate", f.Name)
	case f.Args < -1:
		return fmt.Errorf("function %s: Args is %d; -1 stands for any number", f.Name, f.Args)
	}
	r.functions = append(r.functions, f)
	return nil
}

// Collation gives the connection a collation.
func (r *Registrar) Collation(name string, compare func(a, b string) int) error {
	switch {
	case !namable(name):
		return fmt.Errorf("a collation cannot have the name %q", name)
	case compare == nil:
		return fmt.Errorf("collation %s: the function that compares is nil", name)
	}
	r.collations = append(r.collations, collation{name, compare})
	return nil
}

// Module gives the connection a virtual-table module.
func (r *Registrar) Module(name string, m vtab.Module) error {
	switch {
	case !namable(name):
		return fmt.Errorf("a module cannot have the name %q", name)
	case strings.HasPrefix(strings.ToLower(name), "driftdb"):
		return fmt.Errorf("module %s: names that begin with driftdb are DriftDB's own; choose another", name)
	case m == nil:
		return fmt.Errorf("module %s is nil", name)
	case !isKey(m):
		return fmt.Errorf("module %s: a %T cannot be told from another one; register a pointer to it", name, m)
	}
	r.modules = append(r.modules, module{name, m})
	return nil
}

// isKey says whether m can be the key of a map: one that cannot panics there.
func isKey(m vtab.Module) (ok bool) {
	defer func() { ok = recover() == nil }()
	_ = map[vtab.Module]bool{m: true}
	return true
}

func namable(name string) bool {
	return name != "" && len(name) <= 255 && !strings.Contains(name, "\x00")
}

// install registers functions and collations on c. With harmless, a schema may call the
// functions though it is not trusted: whoever registers them says what belongs to it.
func (r *Registrar) install(c *Conn, harmless bool) error {
	for _, f := range r.functions {
		if err := f.install(c, harmless); err != nil {
			return fmt.Errorf("function %s: %w", f.Name, err)
		}
	}
	for _, coll := range r.collations {
		if err := coll.install(c); err != nil {
			return fmt.Errorf("collation %s: %w", coll.name, err)
		}
	}
	return nil
}

func (f Function) install(c *Conn, harmless bool) error {
	name, err := libc.CString(f.Name)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.TLS, name)
	flags := int32(lib.SQLITE_UTF8)
	if f.Deterministic {
		flags |= lib.SQLITE_DETERMINISTIC
	}
	if harmless {
		flags |= lib.SQLITE_INNOCUOUS
	}
	id := callbacks.keep(f) // SQLite calls forget when it has no use for it, also if it refuses the function
	if f.Scalar != nil {
		return c.Err(lib.Xsqlite3_create_function_v2(c.TLS, c.DB, name, int32(f.Args), flags, id, CFunc(callScalar), 0, 0, CFunc(forget)))
	}
	return c.Err(lib.Xsqlite3_create_window_function(c.TLS, c.DB, name, int32(f.Args), flags, id,
		CFunc(callStep), CFunc(callFinal), CFunc(callValue), CFunc(callInverse), CFunc(forget)))
}

func (coll collation) install(c *Conn) error {
	name, err := libc.CString(coll.name)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.TLS, name)
	id := callbacks.keep(coll)
	rc := lib.Xsqlite3_create_collation_v2(c.TLS, c.DB, name, lib.SQLITE_UTF8, id, CFunc(callCompare), CFunc(forget))
	if rc != lib.SQLITE_OK {
		callbacks.drop(id) // for a collation that it refuses SQLite does not call forget
	}
	return c.Err(rc)
}

// having returns the driver that has these modules beyond d's own.
//
// modernc.org/sqlite keeps a driver that has opened connections with modules for
// as long as the process lives. So there is one for each list of modules, not one
// for each connection.
func (d *Driver) having(modules []module) (*Driver, error) {
	for i, m := range modules {
		for _, before := range modules[:i] {
			if strings.EqualFold(before.name, m.name) {
				return nil, fmt.Errorf("module %s is registered twice", m.name)
			}
		}
		next, err := d.plus(m)
		if err != nil {
			return nil, err
		}
		d = next
	}
	return d, nil
}

// plus returns the driver that has one module more than d.
func (d *Driver) plus(m module) (*Driver, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if next := d.more[m]; next != nil {
		return next, nil
	}
	next := new(Driver)
	for _, has := range append(d.modules[:len(d.modules):len(d.modules)], m) {
		if err := next.RegisterModule(has.name, has.impl); err != nil {
			return nil, err
		}
	}
	if d.more == nil {
		d.more = map[module]*Driver{}
	}
	d.more[m] = next
	return next, nil
}
