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

// connections holds the connections that users read with and those of database/sql, and
// what all connections of the database share, including the writer's and the syncer's.
type connections struct {
	readers *sqlite.Pool
	lender  lender // of the connections behind sql
	sql     *sql.DB

	cache       *pagecache.Budget
	checkpoints *sqlite.Checkpointer
	onConnect   func(*sqlite.Registrar) error // what the program registers, or nil
}

// lender hands connections to database/sql, and takes them back.
type lender interface {
	driver.Connector
	OldestRead() time.Duration
	Shut(why error)
	Recall(deadline time.Time) error
}

// lend makes l the source of database/sql's connections.
func (c *connections) lend(l lender) {
	c.lender, c.sql = l, sql.OpenDB(l)
	c.sql.SetConnMaxIdleTime(time.Minute)
}

// oldestRead returns the age of this program's oldest open read.
func (c *connections) oldestRead() time.Duration {
	return max(c.readers.OldestRead(), c.lender.OldestRead())
}

// shut ends all use of the connections, except for running statements. database/sql passes
// the reason on to users, so public first converts it to a public error.
func (c *connections) shut(public func(error) error) {
	c.lender.Shut(public(writer.ErrClosed))
	c.readers.Shut(writer.ErrClosed)
}

// recall takes back every connection in use, and runs others, which takes back further
// ones. All of this happens at the same time, because the connections wait for each
// other's locks.
func (c *connections) recall(deadline time.Time, others func() error) error {
	var all sync.WaitGroup
	var lent, readers error
	all.Go(func() { lent = c.lender.Recall(deadline) })
	all.Go(func() { readers = c.readers.Close(deadline) })
	err := others()
	all.Wait()
	return errors.Join(lent, readers, err)
}

// close closes whichever connections are open.
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
