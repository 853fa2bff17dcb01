package sqlite

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// SyncWAL puts on disk what has been committed by now, by whichever connection, as
// a commit with synchronous=FULL does, but without a commit: it needs no room.
//
// All connections append to the same file, so to sync it by way of one of them
// syncs what the others have written. What is not in the WAL any more was synced
// with the database before the WAL began anew. (A passive checkpoint would sync the
// WAL as well, but only if it finds something to copy, which depends on who reads,
// and it copies, for which there may be no room.) Without a WAL every commit is on
// disk when it returns.
func (c *Conn) SyncWAL() error {
	if _, err := c.Int("SELECT count(*) FROM main.sqlite_schema"); err != nil { // the WAL is opened by the first read
		return err
	}
	if c.wal() == nil {
		return nil
	}
	file, err := c.file(lib.SQLITE_FCNTL_JOURNAL_POINTER) // in WAL mode that is the WAL
	if err != nil {
		return err
	}
	methods := cmem.At[lib.Tsqlite3_io_methods](cmem.At[lib.Tsqlite3_file](file).FpMethods)
	fsync := cmem.GoFunc[func(*libc.TLS, uintptr, int32) int32](methods.FxSync)
	return c.Err(fsync(c.TLS, file, lib.SQLITE_SYNC_NORMAL))
}
