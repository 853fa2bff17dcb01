package sqlite

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// SpoilIndex leaves the WAL-index as a process does that dies in the middle of
// writing its header, and returns the count of commits in it.
func (c *Conn) SpoilIndex() uint32 {
	h := shared(c.wal())
	n := h.FiChange
	h.FmxFrame ^= 1
	return n
}

// Closed says whether c is.
func (c *Conn) Closed() bool {
	c.closing.Lock()
	defer c.closing.Unlock()
	return c.closed
}

// TermLength is for how long a snapshot is kept at most.
const TermLength = termLength

// IdleConns are the connections that nobody has.
func (p *Pool) IdleConns() (all []*Conn) {
	p.lent.mu.Lock()
	defer p.lent.mu.Unlock()
	for _, c := range p.idle {
		all = append(all, c.Conn)
	}
	return all
}

// Keeping is how many idle connections keep a snapshot.
func (p *Pool) Keeping() (n int) {
	p.lent.mu.Lock()
	defer p.lent.mu.Unlock()
	for _, c := range p.idle {
		if c.keeps && !c.Autocommit() {
			n++
		}
	}
	return n
}

// Keeps reports whether there is a snapshot.
func (k *Keeper) Keeps() bool { return k.kept.Load() != 0 }

// LetWait makes the next commit wait for a checkpoint.
func (cp *Checkpointer) LetWait() {
	cp.due.Store(0)
	cp.limit.Store(0)
}

// Pages is how many pages the WAL has since it has begun anew.
func (cp *Checkpointer) Pages() int64 { return cp.pages.Load() }

// Checkpointed reports whether another connection is checkpointing the database.
func (c *Conn) Checkpointed() bool { return c.checkpointed() }

// BeginCheckpoint takes the lock for checkpoints, as a checkpoint does first, and reports
// whether it was free.
func (c *Conn) BeginCheckpoint() bool { return c.lockCheckpoint(lib.SQLITE_SHM_LOCK) }

// EndCheckpoint releases the lock.
func (c *Conn) EndCheckpoint() { c.lockCheckpoint(lib.SQLITE_SHM_UNLOCK) }

func (c *Conn) lockCheckpoint(flag int32) bool {
	file := c.mainFile()
	methods := cmem.At[lib.Tsqlite3_io_methods](cmem.At[lib.Tsqlite3_file](file).FpMethods)
	lock := cmem.GoFunc[func(tls *libc.TLS, file uintptr, place, n, flags int32) int32](methods.FxShmLock)
	return lock(c.TLS, file, lib.WAL_CKPT_LOCK, 1, flag|lib.SQLITE_SHM_EXCLUSIVE) == lib.SQLITE_OK
}
