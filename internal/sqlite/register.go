package sqlite

import (
	"fmt"
	"strings"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
	"modernc.org/sqlite/vtab"
)

// Function is a SQL function. Exactly one of Scalar and Aggregate is set.
//
// The driver's own registration is not used, because it keeps a function for the life of the
// process. A function registered here ends with its connection.
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

// Registrar collects the functions, collations and modules for a connection that is about to
// be opened.
type Registrar struct {
	functions  []Function
	collations []collation
	modules    []module
}

type collation struct {
	name    string
	compare func(a, b string) int
}

// module is used as a map key, so impl is comparable.
type module struct {
	name string
	impl vtab.Module
}

// Function registers a SQL function. It replaces a function of the same name and number of
// arguments, even a built-in one.
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

// Collation registers a collation.
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

// Module registers a virtual-table module.
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

// isKey reports whether m can be a map key; if it cannot, using it as one panics.
func isKey(m vtab.Module) (ok bool) {
	defer func() { ok = recover() == nil }()
	_ = map[vtab.Module]bool{m: true}
	return true
}

func namable(name string) bool {
	return name != "" && len(name) <= 255 && !strings.Contains(name, "\x00")
}

// install registers functions and collations on c. With harmless, even an untrusted schema may
// call the functions: the program that registers them vouches for them.
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
	id := callbacks.keep(f) // SQLite calls forget when it is done with f, or refuses it
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
		callbacks.drop(id) // SQLite does not call forget for a collation that it refuses
	}
	return c.Err(rc)
}

// having returns the driver that has these modules in addition to d's own.
//
// modernc.org/sqlite keeps a driver that has opened connections with modules for the life of
// the process. So there is one driver per list of modules, not one per connection.
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

// plus returns the driver that has one more module than d.
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
