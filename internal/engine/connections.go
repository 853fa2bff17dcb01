package engine

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/pagecache"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/writer"
)

// connections are those that users read with, and those of SQL; and what all connections
// of the database have in common, the writer's and the syncer's, too.
type connections struct {
	readers *sqlite.Pool
	lender  lender // of the connections of sql
	sql     *sql.DB

	cache       *pagecache.Budget
	checkpoints *sqlite.Checkpointer
	onConnect   func(*sqlite.Registrar) error // what the program registers, or nil
}

// lender gives database/sql its connections, and takes them back.
type lender interface {
	driver.Connector
	OldestRead() time.Duration
	Shut(why error)
	Recall(deadline time.Time) error
}

// lend opens SQL's connections by l.
func (c *connections) lend(l lender) {
	c.lender, c.sql = l, sql.OpenDB(l)
	c.sql.SetConnMaxIdleTime(time.Minute)
}

// oldestRead is the age of the oldest read of the program's own.
func (c *connections) oldestRead() time.Duration {
	return max(c.readers.OldestRead(), c.lender.OldestRead())
}

// shut ends all use of the connections, but for statements that run. database/sql passes
// on why, so that public has made that an error which users know.
func (c *connections) shut(public func(error) error) {
	c.lender.Shut(public(writer.ErrClosed))
	c.readers.Shut(writer.ErrClosed)
}

// recall takes back every connection that somebody has, and what others has: all at
// once, since they wait for each other's locks.
func (c *connections) recall(deadline time.Time, others func() error) error {
	var all sync.WaitGroup
	var lent, readers error
	all.Go(func() { lent = c.lender.Recall(deadline) })
	all.Go(func() { readers = c.readers.Close(deadline) })
	err := others()
	all.Wait()
	return errors.Join(lent, readers, err)
}

// close closes whatever of them there is.
func (c *connections) close() error {
	var errs []error
	if c.sql != nil {
		errs = append(errs, c.sql.Close())
	}
	if c.readers != nil {
		c.readers.Shut(writer.ErrClosed)
		errs = append(errs, c.readers.Close(time.Now()))
	}
	if c.checkpoints != nil {
		errs = append(errs, c.checkpoints.Close())
	}
	return errors.Join(errs...)
}
