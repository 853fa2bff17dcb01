// Package layer puts a VFS of ours over another one. A layer does some methods itself
// and leaves the rest to the VFS below, which may be a layer too.
//
// An open file is one object of C memory: what the VFS below keeps of the file comes
// first, so that whoever knows that VFS finds what it looks for, and the layer's state
// follows. The object's table of methods is a copy of the one that the VFS below has
// given it, with the layer's own methods put in.
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
	Base    string  // the name of the VFS below; default the default one
	Default bool    // it is the VFS of connections that name none
	State   uintptr // how many bytes of state each file has, zero when it is opened
	Hooks   Hooks
}

// Hooks are the methods of sqlite3_vfs that a layer does itself. What is nil is done by
// the VFS below. A method of the same name on VFS calls the VFS below.
type Hooks struct {
	// Open opens f. It calls VFS.Open, then VFS.Attach if the layer does methods of this file.
	Open   func(tls *libc.TLS, name uintptr, f File, flags int32, outFlags uintptr) int32
	Delete func(tls *libc.TLS, name uintptr, syncDir int32) int32
	Access func(tls *libc.TLS, name uintptr, flags int32, out uintptr) int32
}

// VFS is a layer. It lasts as long as the process: SQLite has its address.
type VFS struct {
	base  uintptr // the sqlite3_vfs below
	state uintptr // where a file's state begins in its object
	size  uintptr // of that
	hooks Hooks
	kept  []any // the functions whose addresses the sqlite3_vfs has

	mu     sync.Mutex
	tables map[made]uintptr
}

// made is what a table of methods was made of: as few are made as there are kinds of files.
type made struct {
	base uintptr
	own  *Methods
}

// registered are the layers: SQLite's memory keeps no Go value alive.
var registered struct {
	sync.Mutex
	vfs []*VFS
}

// Register makes a layer and gives it to SQLite.
func Register(o Options) (*VFS, error) {
	tls := libc.NewTLS()
	defer tls.Close()
	base, err := find(tls, o.Base)
	if err != nil {
		return nil, err
	}
	below := cmem.At[lib.Tsqlite3_vfs](base)
	own := align(uintptr(below.FszOsFile)) // the address of the methods below, before the state
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

// find is the VFS of a name, or the default one.
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

// Attach gives f, which VFS.Open has opened, the layer's own methods. own must not change
// any more; a layer has few of them, and the same one for files of the same kind.
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

// State is the address of the layer's state of f.
func (v *VFS) State(f File) uintptr { return uintptr(f) + v.state }

// methods are those of the VFS below, if the layer has its own.
func (v *VFS) methods(f File) *uintptr {
	return cmem.At[uintptr](uintptr(f) + v.state - cmem.Size[uintptr]())
}

// Attached says whether the layer has methods of its own for f.
func (v *VFS) Attached(f File) bool { return *v.methods(f) != 0 }

// Below are the methods of f in the VFS below. The layer has methods of its own for f.
func (v *VFS) Below(f File) Below {
	return Below{uintptr(f), cmem.At[lib.Tsqlite3_io_methods](*v.methods(f))}
}
