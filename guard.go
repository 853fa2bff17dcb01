package driftdb

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
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
// it is the one that we left. tail is what the WAL held before the first
// connection was opened; c holds the write lock. From here on every commit of
// ours has to be on a connection with the ledger.
func (db *DB) unchanged(c *sqlite.Conn, tail sqlite.WALTail) (bool, error) {
	sum, inWAL, err := db.ledger.Start(c)
	if err != nil {
		return false, err
	}
	known, err := changelog.Exists(c)
	if err != nil || !known || db.restored || db.cfg.Path == memory {
		return err == nil, err // it is new to us: adopted, made, or restored just now
	}
	left, noted := readNote(db.path)
	db.guard.noted = left.file
	if len(tail.Pages) == 0 {
		now, err := stat(db.path)
		return noted && !inWAL && now == left.file, err
	}
	switch {
	case tail.Sum != sum:
		return false, nil // written to while we were looking
	case noted && left.sum == sum:
		return true, nil
	}
	return changelog.Wrote(c, tail.Pages) // after a crash of ours
}

// leave notes how the file is left, unless there is something to notice. It is
// called when only the writer is still open.
func (db *DB) leave() {
	if err := db.writeNote(); err != nil && !sqlite.IsBusy(err) {
		db.log.Warn("how the file is left could not be noted; the next Open will take a snapshot", "scope", "capture", "error", err)
	}
}

func (db *DB) writeNote() error {
	if db.cfg.Path == memory {
		return nil
	}
	c := db.writer
	// Closing would do it, and change the file after we have looked at it. It
	// waits for nobody: whoever still reads finishes it.
	if err := c.Exec("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		return err
	}
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	_, notice := c.Missed()
	file, err := stat(db.path)
	if err == nil && notice == 0 {
		db.guard.noted = file
		err = note{file, c.LastSum()}.write(db.path)
	}
	return errors.Join(err, c.Rollback())
}

// noteCut notes the state of the file when its WAL is empty: after Open, and when
// a checkpoint has cut it. Were we killed then, there would be no commit of ours
// in the WAL to tell by. The caller holds the writer.
func (db *DB) noteCut() error {
	wal, err := os.Stat(db.path + "-wal")
	if err != nil || wal.Size() > 0 {
		return nil
	}
	now, err := stat(db.path)
	if err != nil || now == db.guard.noted {
		return err
	}
	return db.writeNote()
}

// guard is the goroutine that looks now and then, and tells what was found.
type guard struct {
	wake   chan struct{} // capacity 1: there is something to tell
	done   chan struct{} // nil: it was not started
	cancel context.CancelFunc
	noted  fileStat // in the note; belongs to whoever holds the writer

	barriers atomic.Int64 // that were committed
	mu       sync.Mutex
	reasons  []string // of those that nobody was told of yet; the same one again counts once
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
			g.tick(db)
			g.cap(ctx, db)
		}
	}
}

func (g *guard) report(db *DB) {
	g.mu.Lock()
	reasons := g.reasons
	g.reasons = nil
	g.mu.Unlock()
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
	select {
	case db.token <- struct{}{}:
	default:
		return
	}
	err := errors.Join(db.notice(), db.noteCut())
	db.unlock()
	if err != nil && !sqlite.IsBusy(err) && !db.isClosed() {
		db.log.Warn("looking for changes by other programs failed", "scope", "capture", "error", err)
	}
}

// cap keeps the unsent log within its bound.
func (g *guard) cap(ctx context.Context, db *DB) {
	if err := db.capLog(ctx); err != nil && ctx.Err() == nil && !db.isClosed() {
		db.log.Warn("the unsent log could not be bounded; it grows until that works", "scope", "sync", "error", err)
	}
}

// look notices what was committed by others before the call.
func (db *DB) look(ctx context.Context) error {
	if err := db.lock(ctx); err != nil {
		return err
	}
	defer db.unlock()
	return export(db.notice())
}

// notice commits a barrier if somebody else has committed. The caller holds the
// writer. It costs next to nothing when nobody has.
func (db *DB) notice() error {
	if db.writer.Unmissed() || db.hub.Refused() != nil {
		return nil
	}
	return db.writer.Barrier(changedSchema, true)
}
