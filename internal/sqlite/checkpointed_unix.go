//go:build unix

package sqlite

import (
	"io"
	"sync/atomic"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"golang.org/x/sys/unix"
	lib "modernc.org/sqlite/lib"
)

// shmLocks is where SQLite's locks begin in a WAL-index (sqlite.org/walformat.html, section 2.1).
const shmLocks = 120

// checkpointed reports whether another connection is checkpointing the database, which must be
// keepable. It takes no lock: SQLite refuses a checkpoint that finds even a share of its lock
// taken, and does not wait. SQLite's own list has the locks of this process, and the system
// names those of the others.
func (c *Conn) checkpointed() bool {
	node := cmem.At[lib.TunixShmNode](cmem.At[lib.TunixShm](cmem.At[lib.TunixFile](c.mainFile()).FpShm).FpShmNode)
	if atomic.LoadInt32(&node.FaLock[lib.WAL_CKPT_LOCK]) < 0 {
		return true
	}
	lock := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart, Start: shmLocks + lib.WAL_CKPT_LOCK, Len: 1}
	err := unix.FcntlFlock(uintptr(node.FhShm), unix.F_GETLK, &lock)
	return err != nil || lock.Type != unix.F_UNLCK // in doubt, nothing is kept
}
