package driftdb

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// defaultLogBytes is how large an unsent log may grow beside a small database.
const defaultLogBytes = 256 << 20

// capLog gives the unsent log up when it has outgrown its limit. The log is
// only measured after the file has grown by an eighth of the limit: most of the
// time this costs a look at the file's size.
func (db *DB) capLog(ctx context.Context) error {
	size := db.size()
	limit := db.cfg.MaxLogBytes
	if limit == 0 {
		limit = defaultLogBytes
	}
	if size < db.measured+limit/8 {
		return nil
	}
	log, err := db.logSize(ctx)
	if err != nil {
		return err
	}
	db.measured = size
	if db.cfg.MaxLogBytes == 0 {
		limit = max(limit, 2*(size-log))
	}
	if log <= limit {
		return nil
	}
	through, err := db.collapse(ctx, fmt.Sprintf("the log that had not been sent outgrew its limit of %d MiB", limit>>20))
	if err != nil {
		return fmt.Errorf("give up the unsent log: %w", err)
	}
	db.log.Warn("the unsent log has outgrown its limit and was given up; all data is kept, and a snapshot follows when the bucket can be reached",
		"scope", "sync", "bytes", log, "limit", limit, "sequence", through)
	return nil
}

// collapse puts a barrier in the place of the unsent log.
func (db *DB) collapse(ctx context.Context, reason string) (through int64, err error) {
	if db.sync != nil {
		return db.sync.Collapse(ctx, reason)
	}
	books, err := db.logs.Books()
	if err != nil {
		return 0, err
	}
	err = db.exclusive(ctx, func() error {
		through, err = db.logs.Collapse(books.Acked, reason)
		return err
	})
	for more := err == nil && through > 0; more && err == nil; {
		err = db.exclusive(ctx, func() (err error) {
			more, err = db.logs.Sweep(books.Acked+1, through)
			return err
		})
	}
	return through, err
}

// logSize is the number of bytes that the changes in the log take.
func (db *DB) logSize(ctx context.Context) (n int64, err error) {
	err = db.conn().read(ctx, "SELECT coalesce(sum(length(data)), 0) FROM main._driftdb_log", func(st *sqlite.Stmt) error {
		return st.Each(func(st *sqlite.Stmt) error { n = st.Int64(0); return nil })
	})
	return n, err
}
