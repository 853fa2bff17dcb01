package driftdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// What another program writes to the file cannot be logged, but has to be
// noticed: a barrier says so in the log, and a snapshot follows. While the
// database is open the ledger knows of every commit that is ours; the next
// commit finds one that is not, or, when nobody writes, the guard does. While it
// is closed, a note beside the file says how we left it.

const (
	changedWhileClosed = "the file was changed while DriftDB had it closed, or cannot be shown not to have been"
	changedSchema      = "another program changed the schema"
)

// unchanged makes the present state of the file the known one, and says whether
// it is the one that we left. c holds the write lock. From here on every commit of
// ours has to be on a connection with the ledger.
func (db *DB) unchanged(c *sqlite.Conn) (bool, error) {
	sum, inWAL, err := db.ledger.Start(c)
	if err != nil {
		return false, err
	}
	known, err := changelog.Exists(c)
	if err != nil || !known {
		return err == nil, err // it is new to us: adopted, or made
	}
	if tail := db.found.tail; !db.restored && db.cfg.Path != memory && (inWAL != (len(tail.Pages) > 0) || inWAL && tail.Sum != sum) {
		return false, nil // written to while we were looking
	}
	return db.asLeft(c)
}

// asLeft says whether the file was, when it was examined, as we left it.
func (db *DB) asLeft(c *sqlite.Conn) (bool, error) {
	if db.restored || db.cfg.Path == memory {
		return true, nil
	}
	left, noted := readNote(db.file)
	db.guard.noted = left.file
	if len(db.found.tail.Pages) > 0 {
		if noted && left.sum == db.found.tail.Sum {
			return true, nil
		}
		return changelog.Wrote(c, db.found.tail.Pages) // after a crash of ours
	}
	now, err := stat(db.path)
	return noted && now == left.file, err
}

// lostWAL says whether the -wal has been removed that we left beside the file, with
// more in it than the file has.
func (db *DB) lostWAL() bool {
	left, _ := readNote(db.file)
	now, err := stat(db.path)
	return left.open && err == nil && now == left.file && len(db.found.tail.Pages) == 0
}

// checkFile says whether the database's files are still those that were opened.
// If they are not, whatever is committed goes into files that nobody will find
// again: from then on writes are refused. What the log has is sent all the same,
// but no snapshot is taken. It may be called within a commit.
func (db *DB) checkFile() error { return db.lost(db.file.Check()) }

// lost refuses writes if err says that the file is not what it was.
func (db *DB) lost(err error) error {
	if err == nil || !errors.Is(err, dbfile.ErrReplaced) {
		return err
	}
	err = fail(fmt.Errorf("%w. Writes are refused from now on. What was committed before is in the old file, if that exists anywhere, and is sent to the bucket, if there is one. Close the database, put the right file in its place, and open it again", err))
	if db.hub.Refused() == nil {
		db.hub.Refuse(err)
		db.guard.lose(err)
	}
	return err
}

// setWALAside takes our -wal away from a database that is not ours: it was put in
// the place of ours, and SQLite would write what the -wal holds into it.
func (db *DB) setWALAside() error {
	name, err := db.file.LeaveWAL()
	if name != "" {
		db.log.Warn("another file has taken the database's place; what was still in our -wal was set aside", "scope", "open", "file", name)
	}
	return err
}

// leave notes how the file is left, unless there is something to notice. It is
// called when only the writer is still open.
func (db *DB) leave(c *capture.Conn) {
	if db.lost(db.file.CheckSize(true)) != nil {
		db.guard.report(db)
		return
	}
	if err := db.writeNote(c); err != nil && !sqlite.IsBusy(err) {
		db.log.Warn("how the file is left could not be noted; the next Open will take a snapshot", "scope", "capture", "error", err)
	}
}

func (db *DB) writeNote(c *capture.Conn) error {
	if db.cfg.Path == memory || db.checkFile() != nil {
		return nil
	}
	// Closing would do it, and change the file after we have looked at it. It
	// waits for nobody: whoever still reads finishes it.
	if err := c.Exec("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		return err
	}
	return db.noteState(c, false)
}

// noteOpen notes which file was opened. A crash may follow: then the WAL tells of
// what was committed since, if it is the one that belongs to this file.
func (db *DB) noteOpen(c *capture.Conn) error {
	if db.cfg.Path == memory {
		return nil
	}
	return db.noteState(c, true)
}

// noteState notes the state of the file, and which file it is.
func (db *DB) noteState(c *capture.Conn, open bool) error {
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	_, notice := c.Missed()
	file, err := stat(db.path)
	if err == nil && notice == 0 {
		db.guard.noted = file
		err = note{file, c.LastSum(), db.file.Inode(), open}.write(db.file)
	}
	return errors.Join(err, c.Rollback())
}

// noteCut notes the state of the file when a checkpoint has cut its WAL. Were we
// killed then, there would be no commit of ours in the WAL to tell by. The caller
// holds the writer.
func (db *DB) noteCut(c *capture.Conn) error {
	if size, err := db.file.WALSize(); err != nil || size > 0 {
		return nil
	}
	now, err := stat(db.path)
	if err != nil || now == db.guard.noted {
		return err
	}
	return db.writeNote(c)
}

// guard is the goroutine that looks now and then, and tells what was found.
type guard struct {
	wake   chan struct{} // capacity 1: there is something to tell
	done   chan struct{} // nil: it was not started
	cancel context.CancelFunc
	noted  fileStat // in the note; belongs to whoever holds the writer

	warned time.Duration // age of the oldest read when it was last warned of; run's own

	barriers atomic.Int64 // that were committed
	mu       sync.Mutex
	reasons  []string // of those that nobody was told of yet; the same one again counts once
	lost     error    // the file, which nobody was told of yet
}

func (g *guard) start(db *DB) {
	ctx, cancel := context.WithCancel(context.Background())
	g.done, g.cancel = make(chan struct{}), cancel
	go func() {
		defer close(g.done)
		g.run(ctx, db)
	}()
}

// stop ends the guard and waits for it.
func (g *guard) stop() {
	if g.done != nil {
		g.cancel()
		<-g.done
	}
}

// tell notes that a barrier was committed. It is called within the commit, so
// the goroutine does the telling.
func (g *guard) tell(reason string) {
	g.barriers.Add(1)
	g.mu.Lock()
	if n := len(g.reasons); n == 0 || g.reasons[n-1] != reason {
		g.reasons = append(g.reasons, reason)
	}
	g.mu.Unlock()
	g.rouse()
}

// lose notes that the file is lost. It, too, may be called within a commit.
func (g *guard) lose(err error) {
	g.mu.Lock()
	g.lost = err
	g.mu.Unlock()
	g.rouse()
}

func (g *guard) rouse() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *guard) run(ctx context.Context, db *DB) {
	ticker := time.NewTicker(db.cfg.SyncInterval)
	defer ticker.Stop()
	defer g.report(db)
	for {
		g.report(db)
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		case <-ticker.C:
			if db.checkFile() == nil && db.lost(db.file.CheckSize(false)) == nil {
				g.tick(db)
				g.cap(ctx, db)
				g.warnOfRead(db)
			}
		}
	}
}

func (g *guard) report(db *DB) {
	db.reportClock()
	db.reportCascade()
	g.mu.Lock()
	reasons, lost := g.reasons, g.lost
	g.reasons, g.lost = nil, nil
	g.mu.Unlock()
	if lost != nil {
		db.log.Error("the database file is not the one that was opened", "scope", "open", "path", db.path, "error", lost)
	}
	msg := "something happened that the log cannot describe"
	if db.bucket != nil {
		msg += "; a snapshot follows"
	}
	for _, reason := range reasons {
		db.log.Warn(msg, "scope", "capture", "reason", reason)
	}
}

// tick looks, unless somebody uses the writer, whose commit looks itself. What
// went wrong is told when the writer is free again: OnEvent may want to write.
func (g *guard) tick(db *DB) {
	err := db.writer.IfFree(func(c *capture.Conn) error { return errors.Join(db.notice(c), db.noteCut(c)) })
	if err != nil && !sqlite.IsBusy(err) && !db.gate.IsShut() {
		db.log.Warn("looking for changes by other programs failed", "scope", "capture", "error", err)
	}
}

// cap keeps the unsent log within its bound.
func (g *guard) cap(ctx context.Context, db *DB) {
	if err := db.capLog(ctx); err != nil && ctx.Err() == nil && !db.gate.IsShut() {
		db.log.Warn("the unsent log could not be bounded; it grows until that works", "scope", "sync", "error", err)
	}
}

// notice commits a barrier if somebody else has committed. The caller holds the
// writer. It costs next to nothing when nobody has.
func (db *DB) notice(c *capture.Conn) error {
	if c.Unmissed() || db.hub.Refused() != nil {
		return nil
	}
	return c.Barrier(changedSchema, true)
}

// reportCascade tells of rows that went with others in a transaction that had meant to
// turn foreign keys off.
func (db *DB) reportCascade() {
	if table := db.hub.Cascaded(); table != "" {
		db.log.Warn("a transaction has changed rows on behalf of another table's, although it ran PRAGMA foreign_keys=OFF: within a transaction that does nothing; run it before BEGIN, or in Tx use PRAGMA defer_foreign_keys=ON",
			"scope", "capture", "table", table)
	}
}
