package sqlite

import (
	"context"
	"fmt"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// copyPages is how many pages a copy takes between two checks of its context. The source's
// locks belong to its read transaction, not to the steps, so the number affects no other
// connection.
const copyPages = 256

// Copy writes a page-consistent copy of c's database to the database at path, replacing that.
// c must be inside a read transaction, whose snapshot is copied: without one, every write by
// another process would restart the copy. Writers can go on meanwhile.
func (c *Conn) Copy(ctx context.Context, path string, progress func(done, total int64)) error {
	dst, err := new(Driver).Open(path, Options{Synchronous: SyncOff, KeepJournal: true})
	if err != nil {
		return err
	}
	defer dst.Close()
	if err := dst.Exec("PRAGMA journal_mode=OFF"); err != nil {
		return err
	}
	zMain, err := libc.CString("main")
	if err != nil {
		return err
	}
	defer libc.Xfree(c.TLS, zMain)
	b := lib.Xsqlite3_backup_init(dst.TLS, dst.DB, zMain, c.DB, zMain)
	if b == 0 {
		return fmt.Errorf("copy the database to %s: %w", path, dst.Err(lib.Xsqlite3_errcode(dst.TLS, dst.DB)))
	}
	var rc int32
	for rc == lib.SQLITE_OK && ctx.Err() == nil {
		rc = lib.Xsqlite3_backup_step(dst.TLS, b, copyPages)
		if progress != nil {
			total := int64(lib.Xsqlite3_backup_pagecount(dst.TLS, b))
			progress(total-int64(lib.Xsqlite3_backup_remaining(dst.TLS, b)), total)
		}
	}
	finish := lib.Xsqlite3_backup_finish(dst.TLS, b)
	switch {
	case rc == lib.SQLITE_DONE && finish == lib.SQLITE_OK:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case finish != lib.SQLITE_OK:
		rc = finish
	}
	return fmt.Errorf("copy the database to %s: %w", path, dst.Err(rc))
}
