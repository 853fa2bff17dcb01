package sqlite

import (
	"context"
	"errors"
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
	if err := copyOver(ctx, dst, c, progress); err != nil {
		return fmt.Errorf("copy the database to %s: %w", path, err)
	}
	return nil
}

// Replace makes c's database, which is in WAL mode, what the database at path is, in one
// transaction: readers see one or the other, and so does whoever comes after a crash. c has no
// transaction. It takes the write lock for the time of the copy, and room for all pages in the
// WAL. ErrOtherPages means that SQLite cannot do it.
func (c *Conn) Replace(ctx context.Context, path string) (err error) {
	src, err := new(Driver).Open(path, Options{MustExist: true, KeepJournal: true, ReadOnly: true, QueryOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	for _, same := range []string{"PRAGMA page_size", "PRAGMA encoding"} {
		old, err := c.Text(same)
		if err != nil {
			return err
		}
		now, err := src.Text(same)
		if err != nil {
			return err
		}
		if old != now {
			return fmt.Errorf("%w: %s is %s, and was %s", ErrOtherPages, same, now, old)
		}
	}
	if err := copyOver(ctx, c, src, nil); err != nil {
		return err
	}
	c.unhookedCommit()
	return nil
}

// SchemaAfterReplace returns the number (PRAGMA schema_version) that Replace gives the schema:
// the one that c's database has before it, plus one, whatever the copied database has.
func (c *Conn) SchemaAfterReplace() (int64, error) {
	n, err := c.Int("PRAGMA main.schema_version")
	return n + 1, err
}

// ErrOtherPages means that the pages of two databases have another form, so that one cannot be
// copied over the other while that is open.
var ErrOtherPages = errors.New("the pages of the database have another form than before")

// copyOver makes dst's database what src's is.
func copyOver(ctx context.Context, dst, src *Conn, progress func(done, total int64)) error {
	zMain, err := libc.CString("main")
	if err != nil {
		return err
	}
	defer libc.Xfree(src.TLS, zMain)
	b := lib.Xsqlite3_backup_init(dst.TLS, dst.DB, zMain, src.DB, zMain)
	if b == 0 {
		return dst.Err(lib.Xsqlite3_errcode(dst.TLS, dst.DB))
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
	return dst.Err(rc)
}
