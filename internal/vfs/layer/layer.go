// Package layer puts a VFS of ours over another one. A layer implements some methods itself
// and leaves the rest to the VFS below, which may be a layer too.
//
// An open file is one object in C memory. The part of the VFS below comes first, so that code
// that knows that VFS finds what it expects; the layer's state follows. The object's method
// table is a copy of the one from the VFS below, with the layer's own methods put in.
package layer

import (
	"fmt"
	"sync"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"
)

// File is the address of an sqlite3_file that a layer has opened.
type File uintptr

// Options of a layer.
type Options struct {
	Name    string
	Base    string  // the name of the VFS below; default: the default VFS
	Default bool    // make it the VFS of connections that name none
	State   uintptr // bytes of state for each file, zeroed when it is opened
	Hooks   Hooks
}

// Hooks are the methods of sqlite3_vfs that a layer implements itself. The VFS below handles
// nil ones. The method of the same name on VFS calls the VFS below.
type Hooks struct {
	// Open opens f. It calls VFS.Open, then VFS.Attach if the layer has methods for this file.
	Open   func(tls *libc.TLS, name uintptr, f File, flags int32, outFlags uintptr) int32
	Delete func(tls *libc.TLS, name uintptr, syncDir int32) int32
	Access func(tls *libc.TLS, name uintptr, flags int32, out uintptr) int32
}

// VFS is a layer. It lives as long as the process, because SQLite has its address.
type VFS struct {
	base  uintptr // the sqlite3_vfs below
	state uintptr // offset of a file's state in its object
	size  uintptr // size of the state
	hooks Hooks
	kept  []any // keeps alive the functions whose addresses the sqlite3_vfs has

	mu     sync.Mutex
	tables map[made]uintptr
}

// made is what a method table was made from, so that there is one table per kind of file.
type made struct {
	base uintptr
	own  *Methods
}

// registered keeps the layers alive: a reference in SQLite's memory does not.
var registered struct {
	sync.Mutex
	vfs []*VFS
}

// Register creates a layer and registers it with SQLite.
func Register(o Options) (*VFS, error) {
	tls := libc.NewTLS()
	defer tls.Close()
	base, err := find(tls, o.Base)
	if err != nil {
		return nil, err
	}
	below := cmem.At[lib.Tsqlite3_vfs](base)
	own := align(uintptr(below.FszOsFile)) // offset of the address of the methods below, before the state
	v := &VFS{
		base: base, state: own + cmem.Size[uintptr](), size: align(o.State), hooks: o.Hooks, tables: map[made]uintptr{},
	}
	name, err := libc.CString(o.Name)
	if err != nil {
		return nil, err
	}
	self := libc.Xcalloc(tls, 1, types.Size_t(cmem.Size[lib.Tsqlite3_vfs]()))
	if self == 0 {
		return nil, fmt.Errorf("vfs %s: no memory", o.Name)
	}
	at := cmem.At[lib.Tsqlite3_vfs](self)
	*at = *below
	at.FpNext, at.FzName = 0, name
	at.FszOsFile = int32(v.state + v.size)
	v.forward(at)
	registered.Lock()
	defer registered.Unlock()
	registered.vfs = append(registered.vfs, v)
	if rc := lib.Xsqlite3_vfs_register(tls, self, libc.Bool32(o.Default)); rc != lib.SQLITE_OK {
		return nil, fmt.Errorf("vfs %s: SQLite does not register it: result %d", o.Name, rc)
	}
	return v, nil
}

func align(n uintptr) uintptr { return (n + 7) &^ 7 }

// find returns the VFS with a name, or the default one.
func find(tls *libc.TLS, name string) (uintptr, error) {
	var z uintptr
	if name != "" {
		var err error
		if z, err = libc.CString(name); err != nil {
			return 0, err
		}
		defer libc.Xfree(tls, z)
	}
	p := lib.Xsqlite3_vfs_find(tls, z)
	if p == 0 {
		return 0, fmt.Errorf("vfs: SQLite has no VFS %q", name)
	}
	return p, nil
}

// Attach gives f, which VFS.Open has opened, the layer's own methods. own must no longer
// change. A layer has few Methods: files of the same kind share one.
func (v *VFS) Attach(tls *libc.TLS, f File, own *Methods) int32 {
	methods := &cmem.At[lib.Tsqlite3_file](uintptr(f)).FpMethods
	v.mu.Lock()
	defer v.mu.Unlock()
	key := made{*methods, own}
	table := v.tables[key]
	if table == 0 {
		table = libc.Xcalloc(tls, 1, types.Size_t(cmem.Size[lib.Tsqlite3_io_methods]()))
		if table == 0 {
			return lib.SQLITE_NOMEM
		}
		at := cmem.At[lib.Tsqlite3_io_methods](table)
		*at = *cmem.At[lib.Tsqlite3_io_methods](*methods)
		own.put(at)
		v.tables[key] = table
	}
	*v.methods(f) = *methods
	*methods = table
	return lib.SQLITE_OK
}

// State returns the address of the layer's state for f.
func (v *VFS) State(f File) uintptr { return uintptr(f) + v.state }

// methods points to the address of the methods of the VFS below, which is set if the layer has
// its own.
func (v *VFS) methods(f File) *uintptr {
	return cmem.At[uintptr](uintptr(f) + v.state - cmem.Size[uintptr]())
}

// Attached reports whether the layer has its own methods for f.
func (v *VFS) Attached(f File) bool { return *v.methods(f) != 0 }

// Below returns the methods of f in the VFS below. The layer must have its own methods for f.
func (v *VFS) Below(f File) Below {
	return Below{uintptr(f), cmem.At[lib.Tsqlite3_io_methods](*v.methods(f))}
}
