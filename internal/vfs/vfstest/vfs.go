// Package vfstest is the disk as an adversary, for tests. Install puts a VFS of ours under
// SQLite, over the platform's own, as the default one: the code that is tested needs to
// know nothing of it. Files in a folder that a Disk watches then do what the Disk wants;
// all others are left alone.
package vfstest

import (
	"fmt"
	"path/filepath"
	"sync"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// How SQLite calls a VFS and its files.
type (
	openFunc     = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32
	deleteFunc   = func(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32
	closeFunc    = func(tls *libc.TLS, file uintptr) int32
	ioFunc       = func(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32
	truncateFunc = func(tls *libc.TLS, file uintptr, size int64) int32
	syncFunc     = func(tls *libc.TLS, file uintptr, flags int32) int32
)

var (
	real   uintptr  // the platform's sqlite3_vfs
	open   sync.Map // the sqlite3_file of each open file that is watched -> *handle
	tables sync.Map // the sqlite3_io_methods of real files -> ours, which begin as copies
)

// handle is an open file of SQLite's.
type handle struct {
	disk *Disk
	*file
	methods *lib.Tsqlite3_io_methods // the real ones
	folder  bool                     // the first sync is also one of the folder: SQLite's rule for journals
}

// Install makes the VFS SQLite's default one. It has to be called before the process
// opens its first database; TestMain is the place.
var Install = sync.OnceValue(func() error {
	tls := libc.NewTLS() // the VFS is never unregistered
	real = lib.Xsqlite3_vfs_find(tls, 0)
	ours := lib.Xsqlite3_malloc(tls, int32(cmem.Size[lib.Tsqlite3_vfs]()))
	if real == 0 || ours == 0 {
		return fmt.Errorf("vfstest: SQLite has no default VFS, or no memory")
	}
	v := cmem.At[lib.Tsqlite3_vfs](ours)
	*v = *cmem.At[lib.Tsqlite3_vfs](real) // its name, too
	v.FxOpen, v.FxDelete = cmem.CFunc[openFunc](xOpen), cmem.CFunc[deleteFunc](xDelete)
	if rc := lib.Xsqlite3_vfs_register(tls, ours, 1); rc != lib.SQLITE_OK {
		return fmt.Errorf("vfstest: SQLite refuses the VFS with code %d", rc)
	}
	return nil
})

// journals are the files with whose first sync SQLite syncs their folder.
const journals = lib.SQLITE_OPEN_WAL | lib.SQLITE_OPEN_MAIN_JOURNAL | lib.SQLITE_OPEN_SUPER_JOURNAL

func xOpen(tls *libc.TLS, _, name, f uintptr, flags int32, out uintptr) int32 {
	open := func() int32 {
		v := cmem.At[lib.Tsqlite3_vfs](real)
		return cmem.GoFunc[openFunc](v.FxOpen)(tls, real, name, f, flags, out)
	}
	path := libc.GoString(name)
	d := diskOf(path)
	if d == nil {
		return open()
	}
	return d.open(path, open, func(of *file) {
		at := cmem.At[lib.Tsqlite3_file](f)
		watch(f, &handle{d, of, cmem.At[lib.Tsqlite3_io_methods](at.FpMethods), flags&journals != 0 && flags&lib.SQLITE_OPEN_CREATE != 0})
		at.FpMethods = wrapped(tls, at.FpMethods)
	})
}

func watch(f uintptr, h *handle) { open.Store(f, h) }

// wrapped is our table of methods for a file whose real one is at p.
func wrapped(tls *libc.TLS, p uintptr) uintptr {
	if t, ok := tables.Load(p); ok {
		return t.(uintptr)
	}
	t := lib.Xsqlite3_malloc(tls, int32(cmem.Size[lib.Tsqlite3_io_methods]()))
	m := cmem.At[lib.Tsqlite3_io_methods](t)
	*m = *cmem.At[lib.Tsqlite3_io_methods](p)
	m.FxClose = cmem.CFunc[closeFunc](xClose)
	m.FxRead = cmem.CFunc[ioFunc](xRead)
	m.FxWrite = cmem.CFunc[ioFunc](xWrite)
	m.FxTruncate = cmem.CFunc[truncateFunc](xTruncate)
	m.FxSync = cmem.CFunc[syncFunc](xSync)
	first, _ := tables.LoadOrStore(p, t)
	return first.(uintptr)
}

func xDelete(tls *libc.TLS, _, name uintptr, syncDir int32) int32 {
	remove := func() int32 {
		v := cmem.At[lib.Tsqlite3_vfs](real)
		return cmem.GoFunc[deleteFunc](v.FxDelete)(tls, real, name, syncDir)
	}
	path := libc.GoString(name)
	if d := diskOf(path); d != nil {
		return d.remove(path, syncDir != 0, remove)
	}
	return remove()
}

func handleAt(f uintptr) *handle {
	h, _ := open.Load(f)
	return h.(*handle)
}

func xClose(tls *libc.TLS, f uintptr) int32 {
	h := handleAt(f)
	open.Delete(f)
	cmem.At[lib.Tsqlite3_file](f).FpMethods = cmem.Address(h.methods)
	return h.disk.close(h, func() int32 { return cmem.GoFunc[closeFunc](h.methods.FxClose)(tls, f) })
}

func xRead(tls *libc.TLS, f, buf uintptr, n int32, off int64) int32 {
	h := handleAt(f)
	rc := cmem.GoFunc[ioFunc](h.methods.FxRead)(tls, f, buf, n, off)
	return h.disk.read(cmem.Bytes(buf, int(n)), rc)
}

func xWrite(tls *libc.TLS, f, buf uintptr, n int32, off int64) int32 {
	h := handleAt(f)
	return h.disk.write(h, cmem.Bytes(buf, int(n)), off, func(n int) int32 {
		return cmem.GoFunc[ioFunc](h.methods.FxWrite)(tls, f, buf, int32(n), off)
	})
}

func xTruncate(tls *libc.TLS, f uintptr, size int64) int32 {
	h := handleAt(f)
	return h.disk.truncate(h, size, func() int32 { return cmem.GoFunc[truncateFunc](h.methods.FxTruncate)(tls, f, size) })
}

func xSync(tls *libc.TLS, f uintptr, flags int32) int32 {
	h := handleAt(f)
	return h.disk.sync(h, func() int32 { return cmem.GoFunc[syncFunc](h.methods.FxSync)(tls, f, flags) })
}

var (
	disksMu sync.RWMutex
	disks   = map[string]*Disk{} // by folder
)

// diskOf is the Disk that watches the file at path, if one does.
func diskOf(path string) *Disk {
	disksMu.RLock()
	defer disksMu.RUnlock()
	if len(disks) == 0 {
		return nil
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if d := disks[dir]; d != nil {
			return d
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}
