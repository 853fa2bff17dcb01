package sqlite

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// To begin a read transaction and to end it takes several times as long as to find a row.
// So a pool's connection keeps the transaction of its last read, its snapshot, for the
// next one, which uses it if nobody has committed since, in whatever process: the header
// of the WAL-index, in memory that all processes share, is then the one that the snapshot
// began with. Every commit changes the header before it returns.
//
// A snapshot keeps the WAL from beginning anew, so each is given up when its term is over,
// however often it is used, and none is kept while a checkpoint runs. The database's own
// Checkpointer says when. Another one, in whatever process, waits for a moment in which
// nobody reads, and readers that each keep a snapshot for nearly all of the time would never
// leave one: the first read of a term looks whether one is waiting.

// termLength is how long a term lasts.
const termLength = 5 * time.Millisecond

// term is what the connections of a pool know of the current term.
type term struct {
	number atomic.Uint64 // odd: no snapshot is kept in it
	looked atomic.Uint64 // the last one in which a reader has looked for a checkpoint …
	found  atomic.Bool   // … and whether there was one
}

func (t *term) keeps() bool { return t.number.Load()%2 == 0 }

// freshen makes the statement that follows see the newest commit. Only one that selects
// may find itself in a transaction that it has not begun.
func (c *Conn) freshen(query string, t *term) error {
	now := t.number.Load()
	if c.keeps {
		if c.keptIn == now && selects(query) && c.newest() {
			return nil
		}
		if err := c.giveUp(); err != nil {
			return err
		}
	}
	if !t.keeps() || !selects(query) || !c.keepable() {
		return nil
	}
	if t.looked.Swap(now) != now {
		t.found.Store(c.checkpointed())
	}
	if t.found.Load() {
		return nil
	}
	if err := c.Do("BEGIN"); err != nil { // the snapshot is taken by the statement
		return err
	}
	c.keeps, c.keptIn = true, now
	return nil
}

// selects says that query only reads: a PRAGMA or an ATTACH would notice a transaction.
func selects(query string) bool {
	const word = "SELECT"
	query = strings.TrimLeft(query, " \t\r\n")
	return len(query) > len(word) && strings.EqualFold(query[:len(word)], word)
}

// keepsFor says that c keeps a snapshot that may be kept on.
func (c *Conn) keepsFor(t *term) bool {
	return c.keeps && t.keeps() && c.keptIn == t.number.Load() && !c.Autocommit()
}

// giveUp ends the transaction that the connection keeps, if it keeps one.
func (c *Conn) giveUp() error {
	if !c.keeps {
		return nil
	}
	c.keeps = false
	if c.Autocommit() { // an error has ended it
		return nil
	}
	if c.Do("COMMIT") == nil {
		return nil
	}
	return c.Rollback()
}

// checkpointed says that somebody else checkpoints the database: while c asks, it has a
// share in the lock for that. It is for a database that is keepable.
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
