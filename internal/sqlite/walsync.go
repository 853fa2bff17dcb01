package sqlite

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// SyncWAL puts on disk everything that any connection has committed so far, as a commit with
// synchronous=FULL does, but without a commit: it needs no disk space.
//
// All connections append to the same file, so syncing it through one of them syncs what the
// others have written. What is no longer in the WAL was synced with the database before the
// WAL restarted. (A passive checkpoint would sync the WAL as well, but only if it finds
// something to copy, which depends on the readers; and it copies, for which there may be no
// space.) Without a WAL, every commit is on disk when it returns.
func (c *Conn) SyncWAL() error {
	if _, err := c.Int("SELECT count(*) FROM main.sqlite_schema"); err != nil { // the first read opens the WAL
		return err
	}
	if c.wal() == nil {
		return nil
	}
	file, methods, err := c.walFile()
	if err != nil {
		return err
	}
	fsync := cmem.GoFunc[func(*libc.TLS, uintptr, int32) int32](methods.FxSync)
	return c.Err(fsync(c.TLS, file, lib.SQLITE_SYNC_NORMAL))
}

// walFile returns SQLite's file object of the WAL.
func (c *Conn) walFile() (uintptr, *lib.Tsqlite3_io_methods, error) {
	file, err := c.file(lib.SQLITE_FCNTL_JOURNAL_POINTER) // in WAL mode that is the WAL
	if err != nil {
		return 0, nil, err
	}
	return file, cmem.At[lib.Tsqlite3_io_methods](cmem.At[lib.Tsqlite3_file](file).FpMethods), nil
}

// SyncFailed records a failed sync, if err is one. The system may have dropped the pages that
// it could not write and marked them clean: the next sync would succeed without them. MendWAL
// must run first.
func (c *Conn) SyncFailed(err error) {
	if cp := c.checkpointer; cp != nil {
		cp.syncFailed(err)
	}
}

func (cp *Checkpointer) syncFailed(err error) {
	if code := Code(err); code == lib.SQLITE_IOERR_FSYNC || code == lib.SQLITE_IOERR_DIR_FSYNC {
		cp.unsynced.Store(true)
	}
}

// MendWAL rewrites the WAL's contents in place and syncs them if a sync by any connection has
// failed. c is in a write transaction, so no other connection writes to the WAL.
func (c *Conn) MendWAL() error {
	if c.checkpointer == nil {
		return nil
	}
	return c.checkpointer.mend(c)
}

func (cp *Checkpointer) mend(c *Conn) error {
	if !cp.unsynced.Load() || c.wal() == nil {
		return nil
	}
	if err := c.rewriteWAL(); err != nil {
		return err
	}
	if err := c.SyncWAL(); err != nil {
		return err
	}
	cp.unsynced.Store(false)
	return nil
}

// rewriteChunk is less than the most that SQLite writes with one call.
const rewriteChunk = 64 << 10

func (c *Conn) rewriteWAL() error {
	file, methods, err := c.walFile()
	if err != nil {
		return err
	}
	type transfer = func(*libc.TLS, uintptr, uintptr, int32, int64) int32
	read, write := cmem.GoFunc[transfer](methods.FxRead), cmem.GoFunc[transfer](methods.FxWrite)
	size := cmem.At[int64](c.cells)
	fileSize := cmem.GoFunc[func(*libc.TLS, uintptr, uintptr) int32](methods.FxFileSize)
	if rc := fileSize(c.TLS, file, c.cells); rc != lib.SQLITE_OK {
		return c.Err(rc)
	}
	buf := lib.Xsqlite3_malloc(c.TLS, rewriteChunk)
	if buf == 0 {
		return c.Err(lib.SQLITE_NOMEM)
	}
	defer lib.Xsqlite3_free(c.TLS, buf)
	for at, end := int64(0), *size; at < end; at += rewriteChunk {
		n := int32(min(rewriteChunk, end-at))
		rc := read(c.TLS, file, buf, n, at)
		if rc == lib.SQLITE_OK {
			rc = write(c.TLS, file, buf, n, at)
		}
		if rc != lib.SQLITE_OK {
			return c.Err(rc)
		}
	}
	return nil
}
