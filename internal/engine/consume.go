package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/consume"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// consumers are the names of those that run.
type consumers struct {
	mu      sync.Mutex
	running map[string]bool
}

// enter takes a name.
func (c *consumers) enter(name string) (leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[name] {
		return nil, consume.ErrRunning
	}
	if c.running == nil {
		c.running = map[string]bool{}
	}
	c.running[name] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.running, name)
	}, nil
}

// Consume runs a consumer until ctx ends or something fails: it calls fn for each change,
// converted by convert, in a transaction for each transaction that has changes for the
// consumer. It returns fn's own error as own, or any other error as err.
func Consume[T any](ctx context.Context, db *DB, c consume.Consumer, convert func(history.Change) T, fn func(context.Context, *Tx, T) error) (own, err error) {
	own, err = runConsumer(ctx, db, c, convert, fn)
	if err != nil {
		err = fmt.Errorf("consumer %q: %w", c.Name, err)
	}
	return own, err
}

func runConsumer[T any](ctx context.Context, db *DB, c consume.Consumer, convert func(history.Change) T, fn func(context.Context, *Tx, T) error) (own, err error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if db.cfg.ReadOnly {
		return nil, db.refusal()
	}
	if err := db.waitsForItself("Consume"); err != nil {
		return nil, err
	}
	leave, err := db.consumers.enter(c.Name)
	if err != nil {
		return nil, err
	}
	defer leave()
	stored, at, err := db.consumer(ctx, c)
	if err != nil {
		return nil, err
	}
	for tx, err := range consume.Feed(ctx, db.History(), c, at, convert) {
		if err != nil {
			return nil, behind(err, at)
		}
		next := consume.Position{Sequence: tx.End, DatabaseID: db.id.DatabaseID}
		if own, err := handle(ctx, db, c, stored, next, tx.Changes, fn); own != nil || err != nil {
			return own, err
		}
		stored, at = next, next.Sequence
	}
	return nil, nil
}

// handle calls fn for the changes of a transaction, and moves the consumer past it.
func handle[T any](ctx context.Context, db *DB, c consume.Consumer, from, to consume.Position, changes []T, fn func(context.Context, *Tx, T) error) (own, err error) {
	var moved error
	own, err = db.Tx(ctx, func(tx *Tx) error {
		for _, change := range changes {
			if err := fn(ctx, tx, change); err != nil {
				return err
			}
		}
		moved = c.Move(ctx, tx.Exec, from, to)
		return moved
	})
	if moved != nil { // it is none of fn's errors
		return nil, errors.Join(err, moved)
	}
	return own, err
}

// behind explains the error of reading if the changes that come next are no longer kept.
func behind(err error, at int64) error {
	if errors.Is(err, history.ErrGone) || errors.Is(err, remote.ErrTooOld) || errors.Is(err, remote.ErrNoBackup) {
		return fmt.Errorf("it has handled the changes up to %d, and what comes next is no longer kept: %w. Bring what it maintains up to date with the tables, delete its row in %s, and call Consume again", at, err, consume.Table)
	}
	return err
}

// consumer reads the row of a consumer, or makes it, and returns it with the change after
// which the consumer goes on. A consumer that has nothing to do writes nothing.
func (db *DB) consumer(ctx context.Context, c consume.Consumer) (stored consume.Position, at int64, err error) {
	var last int64
	found := false
	err = db.readLog(ctx, func(conn *sqlite.Conn) (err error) {
		if stored, found, err = c.Find(conn); err == nil {
			last, err = changelog.Last(conn)
		}
		return err
	})
	if err == nil && !found {
		stored, err = db.addConsumer(ctx, c)
		return stored, stored.Sequence, err
	}
	if err == nil {
		at, err = db.continued(ctx, stored)
	}
	if err == nil && at > last {
		err = fmt.Errorf("its row says that it has handled change %d, but the last one is %d: %w", at, last, consume.ErrAhead)
	}
	return stored, at, err
}

// addConsumer makes the row of a new consumer.
func (db *DB) addConsumer(ctx context.Context, c consume.Consumer) (p consume.Position, err error) {
	own, err := db.Tx(ctx, func(tx *Tx) error {
		var last int64
		err := tx.Conn().Write(ctx, func(w *capture.Conn) (err error) {
			last, err = changelog.Last(w.Conn) // nobody commits beside this transaction
			return err
		})
		switch {
		case err != nil:
			return err
		case c.From > last+1:
			return fmt.Errorf("there is no change %d yet: the last one is %d; to begin with what is to come, leave From out", c.From, last)
		}
		p = consume.Position{Sequence: last, DatabaseID: db.id.DatabaseID}
		if c.From > 0 {
			p.Sequence = c.From - 1
		}
		return c.Add(ctx, tx.Exec, p)
	})
	return p, errors.Join(own, err)
}

// continued returns the change of this database after which a consumer goes on whose row
// says p. A row that came from another database, of which this one is a copy, counts that
// one's changes. A fork has those changes too; in the history of any other copy the first
// change is a barrier, which says to read the tables.
func (db *DB) continued(ctx context.Context, p consume.Position) (at int64, err error) {
	if p.DatabaseID == db.id.DatabaseID {
		return p.Sequence, nil
	}
	if db.uplink.bucket == nil {
		return 0, nil
	}
	stored, err := db.uplink.bucket.Existing(ctx)
	switch {
	case errors.Is(err, remote.ErrNoBackup): // nothing has been sent yet, so it is no fork
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("its row came with a copy of database %s; whether this one is a fork of it is in the bucket: %w", p.DatabaseID, err)
	case stored.Parent == nil:
		return 0, nil
	case !stored.Descends(p.DatabaseID) || p.Sequence > stored.Parent.Sequence:
		return 0, fmt.Errorf("its row says change %d of database %s: %w", p.Sequence, p.DatabaseID, consume.ErrAhead)
	}
	return p.Sequence, nil
}
