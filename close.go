package driftdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// closeGrace is for how long Close lets go on what runs: a statement, a shared
// commit, the function of a Tx.
const closeGrace = 500 * time.Millisecond

// writerRetry is how often Close tries to get the writer when its time is over.
const writerRetry = 5 * time.Millisecond

// lastBusyTimeout is how long Close waits for another program's lock before it
// leaves the file without a note of how.
const lastBusyTimeout = 250 * time.Millisecond

// Close stops syncing and closes the database. It never waits for the network:
// what has not been sent is sent after the next Open.
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
	db.closeOnce.Do(func() { db.closeErr = db.close(time.Now().Add(closeGrace)) })
	return db.closeErr
}

// Shutdown sends what is left, as Flush does, and closes the database. Its
// error says what was left unsent; that is in the file, and sent after the
// next Open.
func (db *DB) Shutdown(ctx context.Context) error {
	if err := db.waitsForItself("Shutdown"); err != nil {
		return err
	}
	var err error
	if db.sync != nil {
		if err = db.Flush(ctx); err != nil {
			st := db.sync.Status()
			err = export(fmt.Errorf("changes %d to %d are not confirmed in the bucket yet: %w", st.Confirmed+1, db.Sequence(), err))
		}
	}
	return errors.Join(err, db.Close())
}

// close ends everything, in an order in which each step finds the next one still
// alive: whoever commits, and reads, before the engine that sends what they
// committed; all connections before the note of how the file was left; and the
// lock last of all.
func (db *DB) close(deadline time.Time) error {
	close(db.closed)
	db.captured.Shut(ErrClosed)
	db.readers.Shut(ErrClosed)
	err := db.recall(deadline)
	if db.sync != nil {
		db.sync.Close()
	}
	db.guard.stop()
	db.token <- struct{}{} // the engine's commits are done, and nobody comes after
	return errors.Join(err, db.release())
}

// recall takes back every connection that somebody has. All at once: they wait
// for each other's locks.
func (db *DB) recall(deadline time.Time) error {
	var all sync.WaitGroup
	var captured, readers, writer error
	all.Go(func() { captured = db.captured.Recall(deadline) })
	all.Go(func() { readers = db.readers.Close(deadline) })
	writer = db.recallWriter(deadline)
	all.Wait()
	return errors.Join(captured, readers, writer)
}

// recallWriter returns when nobody uses the writer for a transaction any more.
func (db *DB) recallWriter(deadline time.Time) error {
	wait := time.NewTimer(time.Until(deadline))
	defer wait.Stop()
	for {
		select {
		case db.token <- struct{}{}:
			db.unlock()
			return nil
		case <-wait.C:
		}
		if tx := db.running.Load(); tx != nil {
			if taken, err := tx.loan.Recall(ErrClosed, deadline); taken {
				db.unlock() // the token was the transaction's
				return err
			}
		}
		db.writer.Interrupt()
		db.logs.Interrupt() // the engine takes the writer's turn for its own small commits
		wait.Reset(writerRetry)
	}
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
	if db.logs != nil {
		errs = append(errs, db.logs.Close())
	}
	if db.checkpoints != nil { // before we note how the file is left
		errs = append(errs, db.checkpoints.Close())
	}
	if db.writer != nil {
		patience := fmt.Sprintf("PRAGMA busy_timeout=%d", lastBusyTimeout.Milliseconds())
		errs = append(errs, db.writer.Rollback(), db.writer.Exec(patience))
		db.leave()
		errs = append(errs, db.writer.Close())
	}
	if db.file != nil {
		errs = append(errs, db.file.Close())
	}
	if db.cleanup != nil {
		errs = append(errs, db.cleanup())
	}
	return errors.Join(errs...)
}

// ownTx is an error if the caller, who has found the writer taken, is called by
// the very transaction that has it.
func (db *DB) ownTx() error {
	if db.running.Load() == nil || !db.txs.Here() {
		return nil
	}
	return errOwnTx
}

var errOwnTx = errors.New("driftdb: the transaction whose function this is called from has the only writer, so it would wait for itself: write through the transaction, with tx.Exec, In(tx) of a repository, or Tx.Savepoint for a transaction in it")

// waitsForItself refuses a call from where it would wait for its own caller.
func (db *DB) waitsForItself(call string) error {
	switch {
	case db.running.Load() != nil && db.txs.Here():
		return fmt.Errorf("driftdb: %s in the function of a Tx would wait for itself: call it when Tx has returned", call)
	case db.inEvent():
		return fmt.Errorf("driftdb: %s in OnEvent or a Logger's handler would wait for itself: call it on another goroutine, and do not wait for that", call)
	}
	return nil
}
