package driftdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
)

// closeGrace is for how long Close lets go on what runs: a statement, a shared
// commit, the function of a Tx.
const closeGrace = 500 * time.Millisecond

// lastBusyTimeout is how long Close waits for another program's lock before it
// leaves the file without a clean-shutdown marker.
const lastBusyTimeout = 250 * time.Millisecond

// Close closes the database. If sync runs in the background, it first sends what is
// pending, for at most Config.CloseTimeout, or 300 ms if the bucket has not answered in
// the last few minutes. It tries an endpoint that refuses the connection, or has no
// address, only once. What could not be sent stays in the file and is sent after the next
// Open; Close then closes the database too, and returns an [ErrUnsent] that says how much
// is left. With ManualSync, after StopSync, and with a negative CloseTimeout, Close uses
// no network.
//
// As soon as Close is called, nothing new can be committed, and every call returns
// [ErrClosed]. A statement, a commit or the function of a Tx that is already running gets
// half a second to finish. After that, statements are interrupted and transactions rolled
// back. In db.SQL(), Close waits only for running statements: it rolls open transactions
// back at once, and whatever the program still holds (sql.Tx, sql.Rows, sql.Stmt,
// sql.Conn) returns ErrClosed from then on. The same goes for loops over rows, and for
// ReadTx.
//
// When Close returns, no file is open and no goroutine is running. A second call waits
// for the first and returns its result. In the function of a Tx, in OnEvent and in a
// Logger's handler, Close would wait for itself: there it returns an error, and the
// database stays open.
func (db *DB) Close() error {
	if err := db.waitsForItself("Close"); err != nil {
		return err
	}
	return db.close(func() error { return db.engine.sendLast(db.log, db.cfg.CloseTimeout, db.lastRound) })
}

// Shutdown is Close with a deadline of your own: it sends what is pending until ctx ends,
// even if sync is manual or stopped, and retries failures as Flush does.
func (db *DB) Shutdown(ctx context.Context) error {
	if err := db.waitsForItself("Shutdown"); err != nil {
		return err
	}
	return db.close(func() error { return db.lastRound(ctx) })
}

// lastRound sends what is pending, what another program has committed among it.
func (db *DB) lastRound(ctx context.Context) error {
	release, err := db.writer.StandBack(ctx) // which notices that
	if err == nil {
		release()
		err = db.engine.sync.Leave(ctx)
	}
	return err
}

// close ends everything, in an order in which each step finds the next one still
// alive: whoever commits, and reads, before the engine that sends what they
// committed; all connections before the clean-shutdown marker is written; and the
// lock last of all. send sends what the engine has not sent by then.
func (db *DB) close(send func() error) error {
	return db.gate.Close(func() error {
		deadline := time.Now().Add(closeGrace)
		if db.cfg.ReadOnly {
			return db.closeReadOnly(deadline)
		}
		db.conns.shut()
		err := db.conns.recall(deadline, func() error { return db.writer.Recall(deadline) })
		if db.engine.sync != nil {
			err = errors.Join(fail(send()), err)
			db.engine.sync.Close()
		}
		db.foreign.Stop()
		return errors.Join(err, fail(errors.Join(db.release(), db.giveUp())))
	})
}

// release frees whatever of an open database there is.
func (db *DB) release() error {
	errs := []error{db.conns.close()} // before the marker says how the file is left
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
	if db.engine.logs != nil {
		errs = append(errs, db.engine.logs.Close())
	}
	return errors.Join(errs...)
}

// giveUp gives the file's place to others.
func (db *DB) giveUp() error {
	return errors.Join(db.foreign.SetWALAside(), db.file.Release())
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
