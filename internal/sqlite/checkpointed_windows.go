package sqlite

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// checkpointed reports whether another connection is checkpointing the database, which must be
// keepable. Windows does not say who has a lock, so c takes a share of it for a moment. A
// checkpoint that begins in this moment is refused.
func (c *Conn) checkpointed() bool {
	file := c.mainFile()
	methods := cmem.At[lib.Tsqlite3_io_methods](cmem.At[lib.Tsqlite3_file](file).FpMethods)
	lock := cmem.GoFunc[func(tls *libc.TLS, file uintptr, place, n, flags int32) int32](methods.FxShmLock)
	if lock(c.TLS, file, lib.WAL_CKPT_LOCK, 1, lib.SQLITE_SHM_LOCK|lib.SQLITE_SHM_SHARED) != lib.SQLITE_OK {
		return true
	}
	lock(c.TLS, file, lib.WAL_CKPT_LOCK, 1, lib.SQLITE_SHM_UNLOCK|lib.SQLITE_SHM_SHARED)
	return false
}
