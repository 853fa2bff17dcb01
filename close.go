package driftdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/retry"
)

// closeGrace is for how long Close lets go on what runs: a statement, a shared
// commit, the function of a Tx.
const closeGrace = 500 * time.Millisecond

// lastBusyTimeout is how long Close waits for another program's lock before it
// leaves the file without a clean-shutdown marker.
const lastBusyTimeout = 250 * time.Millisecond

// Close closes the database, and while syncing runs in the background it first sends
// what is pending: for at most Config.CloseTimeout, or 300 ms if the bucket did not
// answer in the last minutes. An endpoint that refuses the connection, or has no
// address, is tried once. What could not be sent is in the file, and sent after the next
// Open; the error is then an [ErrUnsent] that says how much that is, and the database is
// closed all the same. With ManualSync, after StopSync, and with a negative CloseTimeout
// Close uses no network.
//
// From the first moment on, nothing new is committed: every call is [ErrClosed].
// What runs just then may take half a second to end: a statement, a commit, the
// function of a Tx. After that, statements are interrupted and transactions
// rolled back. Of db.SQL(), Close waits for running statements only: it rolls
// open transactions back at once, and later calls of what the program still
// holds (sql.Tx, sql.Rows, sql.Stmt, sql.Conn) fail with ErrClosed. The same goes
// for loops over rows, and for ReadTx.
//
// When Close returns, no file is open and no goroutine runs. A second call waits
// for the first and returns what it did. In the function of a Tx, in OnEvent or in
// a Logger's handler Close would wait for itself: there it is an error, and the
// database stays open.
func (db *DB) Close() error {
	if err := db.waitsForItself("Close"); err != nil {
		return err
	}
	db.closeOnce.Do(func() { db.closeErr = db.close(time.Now().Add(closeGrace), db.sendLast) })
	return db.closeErr
}

// Shutdown is Close with a deadline of its own: it sends what is left until ctx ends,
// also when syncing is manual or stopped, and repeats what fails as Flush does.
func (db *DB) Shutdown(ctx context.Context) error {
	if err := db.waitsForItself("Shutdown"); err != nil {
		return err
	}
	db.closeOnce.Do(func() {
		db.closeErr = db.close(time.Now().Add(closeGrace), func() error { return db.lastRound(ctx) })
	})
	return db.closeErr
}

// lastRound sends what is pending, what another program has committed among it.
func (db *DB) lastRound(ctx context.Context) error {
	release, err := db.writer.StandBack(ctx) // which notices that
	if err == nil {
		release()
		err = db.sync.Leave(ctx)
	}
	return err
}

// lastWords is how long Close lets a bucket answer that did not do so lately.
const lastWords = 300 * time.Millisecond

// sendLast sends what is pending at Close.
func (db *DB) sendLast() error {
	if db.cfg.CloseTimeout < 0 || !db.sync.Status().Running {
		return nil
	}
	within := db.cfg.CloseTimeout
	away := db.meter.Failing.Load() || db.meter.Silent && !db.meter.Heard.Load()
	if away {
		within = min(within, lastWords)
		db.sync.Stop() // it may be waiting before it tries again
	}
	ctx, cancel := context.WithTimeoutCause(retry.Hurried(context.Background()), within,
		fmt.Errorf("the bucket did not answer within %s", within))
	defer cancel()
	err := db.lastRound(ctx)
	if err != nil && ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
	}
	db.noteSilence()
	return err
}

// noteSilence notes in the file whether the bucket has been silent, if that is news. What
// is under way is given up by now. Without the note, the next session only waits longer
// than it has to, or less long.
func (db *DB) noteSilence() {
	heard := db.meter.Heard.Load()
	if news := heard && db.meter.Silent || !heard && !db.meter.Silent && db.meter.Failing.Load(); !news {
		return
	}
	db.sync.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), lastBusyTimeout)
	defer cancel()
	if err := db.sync.NoteSilence(ctx, !heard); err != nil {
		db.log.Debug(event.SilenceNotNoted, "it could not be noted whether the bucket answers", "error", err)
	}
}

// close ends everything, in an order in which each step finds the next one still
// alive: whoever commits, and reads, before the engine that sends what they
// committed; all connections before the clean-shutdown marker is written; and the
// lock last of all. send sends what the engine has not sent by then.
func (db *DB) close(deadline time.Time, send func() error) error {
	db.gate.Shut()
	if db.cfg.ReadOnly {
		return db.closeReadOnly(deadline)
	}
	db.lender.Shut(ErrClosed)
	db.readers.Shut(ErrClosed)
	err := db.recall(deadline)
	if db.sync != nil {
		err = errors.Join(fail(send()), err)
		db.sync.Close()
	}
	db.foreign.Stop()
	return errors.Join(err, fail(errors.Join(db.release(), db.giveUp())))
}

// recall takes back every connection that somebody has. All at once: they wait
// for each other's locks.
func (db *DB) recall(deadline time.Time) error {
	var all sync.WaitGroup
	var captured, readers, writer error
	all.Go(func() { captured = db.lender.Recall(deadline) })
	all.Go(func() { readers = db.readers.Close(deadline) })
	writer = db.writer.Recall(deadline)
	all.Wait()
	return errors.Join(captured, readers, writer)
}

// release frees whatever of an open database there is.
func (db *DB) release() error {
	var errs []error
	if db.sql != nil {
		errs = append(errs, db.sql.Close())
	}
	if db.readers != nil {
		db.readers.Shut(ErrClosed)
		errs = append(errs, db.readers.Close(time.Now()))
	}
	if db.checkpoints != nil { // before we note how the file is left
		errs = append(errs, db.checkpoints.Close())
	}
	if db.writer != nil {
		errs = append(errs, db.writer.Close(func(c *capture.Conn) error {
			err := c.Exec(fmt.Sprintf("PRAGMA busy_timeout=%d", lastBusyTimeout.Milliseconds()))
			db.foreign.Leave(c)
			return err
		}))
	}
	if db.file != nil {
		errs = append(errs, db.file.Unhold())
	}
	if db.logs != nil {
		errs = append(errs, db.logs.Close())
	}
	return errors.Join(errs...)
}

// giveUp gives the file's place to others.
func (db *DB) giveUp() error {
	err := errors.Join(db.foreign.SetWALAside(), db.file.Release())
	if db.temp != nil {
		err = errors.Join(err, db.temp.Close())
	}
	return err
}

// waitsForItself refuses a call from where it would wait for its own caller.
func (db *DB) waitsForItself(call string) error {
	switch {
	case db.writer.Inside():
		return fmt.Errorf("driftdb: %s in the function of a Tx would wait for itself: call it when Tx has returned", call)
	case db.inEvent():
		return fmt.Errorf("driftdb: %s in OnEvent or a Logger's handler would wait for itself: call it on another goroutine, and do not wait for that", call)
	}
	return nil
}
