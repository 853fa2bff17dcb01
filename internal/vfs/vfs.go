// Package vfs is the VFS of connections that write. It hands each commit to the system in one
// call. SQLite writes every WAL frame in two calls, a header and a page. The VFS joins these
// writes while they follow each other, and issues them once the commit is complete. The WAL's
// format, and what a crash leaves of it, stay SQLite's.
//
// Everything else goes to the VFS that was the default when the first connection was opened.
package vfs

import (
	"sync"
	"sync/atomic"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"github.com/driftdb/driftdb-go/internal/vfs/layer"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

const name = "driftdb"

// instance registers the VFS, once per process.
var instance = sync.OnceValues(func() (*joining, error) { return register(name, "") })

// Name registers the VFS and returns its name.
func Name() (string, error) {
	_, err := instance()
	return name, err
}

// joining is the VFS. What it keeps about a WAL's frames is in the state of the database file,
// which SQLite opens first and closes last. The state of a WAL is the layer.File of its
// database.
type joining struct {
	*layer.VFS
	database, wal layer.Methods

	// surprised is set once SQLite announces frames that are not written yet: it does not work
	// as assumed. From then on nothing is joined.
	surprised atomic.Bool
}

// register registers the VFS over another one.
func register(name, base string) (*joining, error) {
	v := new(joining)
	v.database = layer.Methods{Close: v.closeDatabase, ShmLock: v.shmLock, ShmBarrier: v.shmBarrier, ShmUnmap: v.shmUnmap}
	v.wal = layer.Methods{
		Close: v.closeWAL, Read: v.read, Write: v.write, Truncate: v.truncate, Sync: v.sync, FileSize: v.fileSize,
	}
	var err error
	v.VFS, err = layer.Register(layer.Options{
		Name: name, Base: base,
		State: max(cmem.Size[frames](), cmem.Size[layer.File]()),
		Hooks: layer.Hooks{Open: v.open},
	})
	return v, err
}

func (v *joining) open(tls *libc.TLS, name uintptr, f layer.File, flags int32, outFlags uintptr) int32 {
	if rc := v.Open(tls, name, f, flags, outFlags); rc != lib.SQLITE_OK {
		return rc
	}
	switch {
	case flags&lib.SQLITE_OPEN_MAIN_DB != 0:
		return v.Attach(tls, f, &v.database)
	case flags&lib.SQLITE_OPEN_WAL != 0:
		database := layer.File(lib.Xsqlite3_database_file_object(tls, name)) // opened earlier, by the same VFS
		*cmem.At[layer.File](v.State(f)) = database
		v.at(database).wal = f
		return v.Attach(tls, f, &v.wal)
	}
	return lib.SQLITE_OK
}

// of returns the state of a WAL's frames.
func (v *joining) of(wal layer.File) *frames { return v.at(*cmem.At[layer.File](v.State(wal))) }

func (v *joining) at(database layer.File) *frames { return cmem.At[frames](v.State(database)) }

// These are the methods of the database file, which has the locks.

// shmLock watches the write lock: its holder alone may write to the WAL. A guard is asked
// before the lock.
func (v *joining) shmLock(tls *libc.TLS, f layer.File, offset, n, flags int32) int32 {
	if offset != writeLock {
		return v.Below(f).ShmLock(tls, offset, n, flags)
	}
	if flags&lib.SQLITE_SHM_UNLOCK != 0 {
		v.at(f).end()
		return v.Below(f).ShmLock(tls, offset, n, flags)
	}
	if v.at(f).guarded != 0 && !mayLock(f) {
		return lib.SQLITE_BUSY
	}
	rc := v.Below(f).ShmLock(tls, offset, n, flags)
	if rc == lib.SQLITE_OK && flags&lib.SQLITE_SHM_EXCLUSIVE != 0 && !v.surprised.Load() {
		v.at(f).begin()
	}
	return rc
}

// shmBarrier comes before an update of the WAL-index takes effect. A commit has been written
// by then. If some SQLite marks commits in another way, the frames are written here, and
// nothing is joined from then on.
func (v *joining) shmBarrier(tls *libc.TLS, f layer.File) {
	if fr := v.at(f); fr.n != 0 {
		v.surprised.Store(true)
		v.flush(tls, fr)
	}
	v.Below(f).ShmBarrier(tls)
}

func (v *joining) shmUnmap(tls *libc.TLS, f layer.File, remove int32) int32 {
	v.at(f).end()
	return v.Below(f).ShmUnmap(tls, remove)
}

func (v *joining) closeDatabase(tls *libc.TLS, f layer.File) int32 {
	v.at(f).free(tls)
	unguard(f)
	return v.Below(f).Close(tls)
}

// These are the WAL's methods. Every other operation on it first writes the joined frames.

func (v *joining) write(tls *libc.TLS, f layer.File, buf uintptr, n int32, offset int64) int32 {
	fr := v.of(f)
	commits, joins := fr.next(buf, n, offset)
	if !joins {
		if rc := v.flush(tls, fr); rc != lib.SQLITE_OK {
			return rc
		}
		rc := v.Below(f).Write(tls, buf, n, offset)
		fr.passed(n, offset, rc == lib.SQLITE_OK)
		return rc
	}
	if fr.n+n > capacity {
		if rc := v.flush(tls, fr); rc != lib.SQLITE_OK {
			return rc
		}
	}
	if !fr.add(tls, buf, n, offset) {
		fr.failed = lib.SQLITE_IOERR_NOMEM
		return fr.failed
	}
	if commits {
		return v.flush(tls, fr)
	}
	return lib.SQLITE_OK
}

// flush writes what was joined. If that fails, the transaction can no longer commit: every
// call that needs those frames fails likewise, until the write lock is released.
func (v *joining) flush(tls *libc.TLS, fr *frames) int32 {
	if fr.failed == lib.SQLITE_OK && fr.n != 0 {
		if fr.failed = v.Below(fr.wal).Write(tls, fr.buf, fr.n, fr.start); fr.failed == lib.SQLITE_OK {
			fr.n = 0
		}
	}
	return fr.failed
}

func (v *joining) read(tls *libc.TLS, f layer.File, buf uintptr, n int32, offset int64) int32 {
	if fr := v.of(f); fr.has(n, offset) {
		if rc := v.flush(tls, fr); rc != lib.SQLITE_OK {
			return rc
		}
	}
	return v.Below(f).Read(tls, buf, n, offset)
}

func (v *joining) truncate(tls *libc.TLS, f layer.File, size int64) int32 {
	if rc := v.flush(tls, v.of(f)); rc != lib.SQLITE_OK {
		return rc
	}
	return v.Below(f).Truncate(tls, size)
}

func (v *joining) sync(tls *libc.TLS, f layer.File, flags int32) int32 {
	if rc := v.flush(tls, v.of(f)); rc != lib.SQLITE_OK {
		return rc
	}
	return v.Below(f).Sync(tls, flags)
}

func (v *joining) fileSize(tls *libc.TLS, f layer.File, out uintptr) int32 {
	if rc := v.flush(tls, v.of(f)); rc != lib.SQLITE_OK {
		return rc
	}
	return v.Below(f).FileSize(tls, out)
}

func (v *joining) closeWAL(tls *libc.TLS, f layer.File) int32 {
	fr := v.of(f)
	rc := v.flush(tls, fr)
	fr.end()
	fr.free(tls)
	if below := v.Below(f).Close(tls); rc == lib.SQLITE_OK {
		rc = below
	}
	return rc
}
