package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// upkeep is the periodic work while a database is open, apart from watching for other
// programs' writes. It runs on the goroutine of the foreign.Watch, which owns all of its
// fields.
type upkeep struct {
	db     *DB
	cap    *changelog.Cap
	clock  clock
	warned time.Duration // age of the oldest read at the last warning
}

// round does the work that is due.
func (u *upkeep) round(ctx context.Context) {
	if err := u.capLog(ctx); err != nil && ctx.Err() == nil && !u.db.gate.IsShut() {
		u.db.cfg.Log.Warn(event.LogUnbounded, "the unsent log could not be bounded; it grows until that works", "error", err)
	}
	u.warnOfRead()
}

// tell reports what was found during commits, which cannot log it themselves.
func (u *upkeep) tell() {
	if s := u.db.hub.Setback(); s != nil {
		u.clock.behind(u.db.cfg.Log, time.UnixMilli(s.Time), time.UnixMilli(s.Before))
	}
	if table := u.db.hub.Cascaded(); table != "" {
		u.db.cfg.Log.Warn(event.ForeignKeysOn, "a transaction has changed rows on behalf of another table's, although it ran PRAGMA foreign_keys=OFF: within a transaction that does nothing; run it before BEGIN, or in Tx use PRAGMA defer_foreign_keys=ON",
			"table", table)
	}
}

// capLog gives up the unsent log when it has outgrown its limit.
func (u *upkeep) capLog(ctx context.Context) error {
	db := u.db
	if !u.cap.Due(db.hub.Logged()) {
		return nil
	}
	log, err := db.measureLog(ctx)
	if err != nil {
		return err
	}
	limit, exceeded := u.cap.Exceeded(log, db.size())
	if !exceeded {
		return nil
	}
	through, err := db.uplink.giveUpLog(ctx, fmt.Sprintf("the log that had not been sent outgrew its limit of %d bytes", limit),
		func(commit func() error) error { return db.exclusive(ctx, commit) })
	if err != nil {
		return fmt.Errorf("give up the unsent log: %w", err)
	}
	db.foreign.Count()
	db.cfg.Log.Warn(event.LogGivenUp, "the unsent log has outgrown its limit and was given up; all data is kept, and a snapshot follows when the bucket can be reached",
		"bytes", log.Unsent, "limit", limit, "sequence", through)
	return nil
}

// measurePatience is how long a measurement of the log may take. With MaxReaders, reads that
// never end may have all readers.
const measurePatience = 2 * time.Second

// measureLog reads the size of the log. context.DeadlineExceeded means that it took too long.
func (db *DB) measureLog(ctx context.Context) (size changelog.Size, err error) {
	ctx, cancel := context.WithTimeout(ctx, measurePatience)
	defer cancel()
	acked := db.uplink.acked()
	err = db.Conn().Read(ctx, changelog.SizeQuery, func(st *sqlite.Stmt) error {
		size, err = changelog.ReadSize(st, acked)
		return err
	})
	if err == nil {
		db.measured.Store(&size)
	}
	return size, err
}

// oldRead is the age at which a read that keeps the WAL from being truncated causes a
// warning.
const oldRead = time.Minute

// warnOfRead warns of a read that stays open while the WAL outgrows its limit: once, and
// again whenever the read's age has doubled.
func (u *upkeep) warnOfRead() {
	age, size := u.db.conns.oldestRead(), sizeOf(u.db.path+"-wal")
	if age < u.warned {
		u.warned = 0 // that read has ended
	}
	if size <= sqlite.WALLimit || age < max(oldRead, 2*u.warned) {
		return
	}
	u.warned = age
	u.db.cfg.Log.Warn(event.LongRead, "a read has been open for long, and the WAL grows until it ends; look for a sql.Rows that is not closed, a loop over rows that does not end, or a ReadTx that does not return",
		"age", age.Round(time.Second), "walBytes", size)
}
