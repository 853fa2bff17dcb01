package vfs

import (
	"errors"
	"sync"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"github.com/driftdb/driftdb-go/internal/vfs/layer"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// guards has the functions that connections' database files ask before they take the write
// lock. SQLite takes it wherever a transaction begins to write, whichever statement that is.
var guards sync.Map // layer.File -> func() bool

// Guard makes the connection db, until it is closed, take the write lock only if may returns
// true. Otherwise it is SQLITE_BUSY, as if another connection had the lock.
func Guard(tls *libc.TLS, db uintptr, may func() bool) error {
	name := lib.Xsqlite3_db_filename(tls, db, 0)
	if name == 0 || *cmem.At[byte](name) == 0 {
		return errors.New("vfs: a database without a file has no write lock to guard")
	}
	f := layer.File(lib.Xsqlite3_database_file_object(tls, name))
	registered, err := instance()
	if err != nil {
		return err
	}
	if !registered.Attached(f) {
		return errors.New("vfs: the file is not one of this VFS")
	}
	guards.Store(f, may)
	registered.at(f).guarded = 1
	return nil
}

func mayLock(f layer.File) bool {
	may, ok := guards.Load(f)
	return !ok || may.(func() bool)()
}

// unguard forgets a file that is being closed: another one may get its address.
func unguard(f layer.File) { guards.Delete(f) }
