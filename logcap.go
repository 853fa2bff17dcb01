package driftdb

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// defaultLogBytes is how large an unsent log may grow beside a small database.
const defaultLogBytes = 256 << 20

// capLog gives the unsent log up when it has outgrown its limit. What has been sent
// and is kept for a snapshot does not count: giving it up would not shrink it. The log is
// only measured after an eighth of the limit has been written to it: most of
// the time this costs nothing.
func (db *DB) capLog(ctx context.Context) error {
	limit := db.cfg.MaxLogBytes
	if limit < 0 {
		return nil
	}
	if limit == 0 {
		limit = defaultLogBytes
	}
	logged := db.hub.Logged()
	if db.measured != 0 && logged-db.measured < limit/8 {
		return nil
	}
	db.measured = max(logged, 1)
	log, err := db.measureLog(ctx)
	if err != nil {
		return err
	}
	if db.cfg.MaxLogBytes == 0 {
		limit = max(limit, 2*(db.size()-log.bytes))
	}
	if log.unsent <= limit {
		return nil
	}
	through, err := db.collapse(ctx, fmt.Sprintf("the log that had not been sent outgrew its limit of %d bytes", limit))
	if err != nil {
		return fmt.Errorf("give up the unsent log: %w", err)
	}
	db.guard.barriers.Add(1)
	db.log.Warn(event.LogGivenUp, "the unsent log has outgrown its limit and was given up; all data is kept, and a snapshot follows when the bucket can be reached",
		"bytes", log.unsent, "limit", limit, "sequence", through)
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
	through, err = db.logs.Collapse(books.Acked, reason, func(commit func() error) error { return db.exclusive(ctx, commit) })
	for more := err == nil && through > 0; more && err == nil; {
		err = db.exclusive(ctx, func() (err error) {
			more, err = db.logs.Sweep(books.Acked+1, through)
			return err
		})
	}
	return through, err
}

// logSize is what the log holds.
type logSize struct {
	bytes  int64 // of the changes in it …
	unsent int64 // … and of those that the bucket does not have
	since  int64 // when the first of these was committed, in Unix ms; 0: there is none
}

// measureLog reads the log, but not the changes themselves.
func (db *DB) measureLog(ctx context.Context) (size logSize, err error) {
	acked := int64(0)
	if db.sync != nil {
		acked = db.sync.Status().Acked
	}
	const query = `SELECT coalesce(sum(length(data)), 0), coalesce(sum(length(data)) FILTER (WHERE sequence > ?1), 0),
		(SELECT time FROM main._driftdb_log WHERE sequence > ?1 ORDER BY sequence LIMIT 1) FROM main._driftdb_log`
	err = db.conn().read(ctx, query, func(st *sqlite.Stmt) error {
		st.BindInt64(1, acked)
		return st.Each(func(st *sqlite.Stmt) error {
			size = logSize{st.Int64(0), st.Int64(1), st.Int64(2)}
			return nil
		})
	})
	return size, err
}
