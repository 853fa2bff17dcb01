// Package vfstest simulates an adversarial disk for tests. Install puts a VFS of ours under
// SQLite, over the platform's own, as the default one, so the tested code needs to know
// nothing of it. Files in a folder that a Disk watches behave as the Disk decides; all others
// are left alone.
package vfstest

import (
	"path/filepath"
	"sync"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"github.com/driftdb/driftdb-go/internal/vfs/layer"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

var (
	vfs  *layer.VFS
	open sync.Map // layer.File -> *handle, of each open file that is watched
)

// handle is a file that SQLite has open.
type handle struct {
	disk *Disk
	*file
	folder bool // the first sync also syncs the folder: SQLite's rule for journals
}

// Install makes the VFS SQLite's default one. It must be called before the process opens its
// first database; TestMain is the place.
var Install = sync.OnceValue(func() (err error) {
	vfs, err = layer.Register(layer.Options{
		Name: "driftdb-disk", Default: true, Hooks: layer.Hooks{Open: openFile, Delete: deleteFile},
	})
	return err
})

var methods = layer.Methods{
	Close: func(tls *libc.TLS, f layer.File) int32 {
		h := handleOf(f)
		open.Delete(f)
		return h.disk.close(h, func() int32 { return vfs.Below(f).Close(tls) })
	},
	Read: func(tls *libc.TLS, f layer.File, buf uintptr, n int32, off int64) int32 {
		h := handleOf(f)
		return h.disk.read(h.file, cmem.Bytes(buf, int(n)), vfs.Below(f).Read(tls, buf, n, off))
	},
	Write: func(tls *libc.TLS, f layer.File, buf uintptr, n int32, off int64) int32 {
		h := handleOf(f)
		return h.disk.write(h, cmem.Bytes(buf, int(n)), off, func(n int) int32 {
			return vfs.Below(f).Write(tls, buf, int32(n), off)
		})
	},
	Truncate: func(tls *libc.TLS, f layer.File, size int64) int32 {
		h := handleOf(f)
		return h.disk.truncate(h, size, func() int32 { return vfs.Below(f).Truncate(tls, size) })
	},
	Sync: func(tls *libc.TLS, f layer.File, flags int32) int32 {
		h := handleOf(f)
		return h.disk.sync(h, func() int32 { return vfs.Below(f).Sync(tls, flags) })
	},
}

func handleOf(f layer.File) *handle {
	h, _ := open.Load(f)
	return h.(*handle)
}

// journals are the files whose first sync makes SQLite sync their folder too.
const journals = lib.SQLITE_OPEN_WAL | lib.SQLITE_OPEN_MAIN_JOURNAL | lib.SQLITE_OPEN_SUPER_JOURNAL

func openFile(tls *libc.TLS, name uintptr, f layer.File, flags int32, outFlags uintptr) int32 {
	path := libc.GoString(name)
	d := diskOf(path)
	if d == nil {
		return vfs.Open(tls, name, f, flags, outFlags)
	}
	return d.open(path, func() int32 { return vfs.Open(tls, name, f, flags, outFlags) }, func(of *file) int32 {
		open.Store(f, &handle{d, of, flags&journals != 0 && flags&lib.SQLITE_OPEN_CREATE != 0})
		return vfs.Attach(tls, f, &methods)
	})
}

func deleteFile(tls *libc.TLS, name uintptr, syncDir int32) int32 {
	remove := func() int32 { return vfs.Delete(tls, name, syncDir) }
	path := libc.GoString(name)
	if d := diskOf(path); d != nil {
		return d.remove(path, syncDir != 0, remove)
	}
	return remove()
}

var (
	disksMu sync.RWMutex
	disks   = map[string]*Disk{} // by folder
)

// diskOf returns the Disk that watches the file at path, or nil.
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
