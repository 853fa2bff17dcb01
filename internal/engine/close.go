package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
)

// closeGrace is how long Close lets running work finish: a statement, a shared commit, or
// the function of a Tx.
const closeGrace = 500 * time.Millisecond

// lastBusyTimeout is how long Close waits for another program's lock before it
// leaves the file without a clean-shutdown marker.
const lastBusyTimeout = 250 * time.Millisecond

// Close closes the database. If sync runs, it first sends what is pending, within
// Config.CloseTimeout.
func (db *DB) Close() error {
	if db.following != nil {
		return ErrKeptOpen
	}
	if err := db.waitsForItself("Close"); err != nil {
		return err
	}
	return db.close(func() error { return db.uplink.sendLast(db.cfg.Log, db.cfg.CloseTimeout, db.lastRound) })
}

// Shutdown is like Close, but sends what is pending until ctx ends, whether or not sync
// runs.
func (db *DB) Shutdown(ctx context.Context) error {
	if db.following != nil {
		return ErrKeptOpen
	}
	if err := db.waitsForItself("Shutdown"); err != nil {
		return err
	}
	return db.close(func() error { return db.lastRound(ctx) })
}

// lastRound sends what is pending, including what another program has committed.
func (db *DB) lastRound(ctx context.Context) error {
	release, err := db.writer.StandBack(ctx) // notices other programs' commits
	if err == nil {
		release()
		err = db.uplink.sync.Leave(ctx)
	}
	return err
}

// close shuts everything down, in an order in which each step still has what it needs:
// writers and readers end before sync, which sends what they committed; all connections
// close before the clean-shutdown marker is written; and the lock is released last. send
// sends what sync has not sent by then.
func (db *DB) close(send func() error) error {
	return db.gate.Close(func() error {
		deadline := time.Now().Add(closeGrace)
		if db.cfg.ReadOnly {
			return db.closeReadOnly(deadline)
		}
		db.conns.shut(db.cfg.Public)
		err := db.conns.recall(deadline, func() error { return db.writer.Recall(deadline) })
		if db.uplink.sync != nil {
			err = errors.Join(db.cfg.Public(send()), err)
			db.uplink.closeSync()
		}
		db.foreign.Stop()
		return errors.Join(err, db.cfg.Public(errors.Join(db.release(), db.giveUp())))
	})
}

// release closes whatever parts of the database are open.
func (db *DB) release() error {
	errs := []error{db.conns.close()} // before the marker records the state of the file
	if db.writer != nil {
		errs = append(errs, db.writer.Close(func(c *capture.Conn) error {
			err := c.Exec(fmt.Sprintf("PRAGMA busy_timeout=%d", lastBusyTimeout.Milliseconds()))
			return errors.Join(err, db.foreign.Leave(c))
		}))
	}
	if db.file != nil {
		errs = append(errs, db.file.Unhold())
	}
	if db.uplink.logs != nil {
		errs = append(errs, db.uplink.logs.Close())
	}
	return errors.Join(errs...)
}

// giveUp releases the file's place to other processes.
func (db *DB) giveUp() error {
	return errors.Join(db.foreign.SetWALAside(), db.file.Release())
}

// waitsForItself returns an error where the call would wait for its own caller.
func (db *DB) waitsForItself(call string) error {
	switch {
	case db.writer.Inside():
		return fmt.Errorf("%s in the function of a Tx would wait for itself: call it when Tx has returned", call)
	case db.cfg.Log.Inside():
		return fmt.Errorf("%s in OnEvent or a Logger's handler would wait for itself: call it on another goroutine, and do not wait for that", call)
	}
	return nil
}
