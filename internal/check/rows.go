package check

import (
	"context"
	"errors"

	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/digest/scan"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// read is what the rows themselves say.
type read struct {
	digests   digest.Set
	unread    scan.Unread
	rows      int64
	uncounted scan.Unread // the tables whose rows could not be counted
	err       error
}

// reading is one that is under way on a connection of its own, or that is yet to be
// done on the only one.
type reading struct {
	wait func() read
	stop func() // it is not wanted any more
}

// rows begins to read all rows, beside what the caller does if open is not nil.
func (r *run) rows(open func() (*sqlite.Conn, error)) reading {
	if open == nil {
		return reading{func() read { return readRows(r.ctx, r.c) }, func() {}}
	}
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan read, 1)
	go func() {
		defer close(done)
		c, err := open()
		if err != nil {
			done <- read{err: err}
			return
		}
		res := readRows(ctx, c)
		res.err = errors.Join(res.err, c.Close())
		done <- res
	}()
	return reading{
		wait: func() read { return <-done },
		stop: func() { cancel(); <-done }, // after wait it is closed
	}
}

func readRows(ctx context.Context, c *sqlite.Conn) (res read) {
	stop := c.Watch(ctx)
	defer stop()
	if res.digests, res.unread, res.err = scan.Readable(ctx, c); res.err != nil {
		return res
	}
	res.uncounted = scan.Unread{}
	res.err = res.count(c)
	return res
}

// count counts the rows of ordinary tables.
func (res *read) count(c *sqlite.Conn) error {
	var tables []string
	err := c.Each(`SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`, func(st *sqlite.Stmt) error {
		tables = append(tables, st.Text(0))
		return nil
	})
	for _, table := range tables {
		if res.unread[table] != nil {
			continue
		}
		n, err := c.Int("SELECT count(*) FROM main." + sqlite.Quote(table) + " NOT INDEXED")
		res.rows += n
		if sqlite.Code(err) != 0 {
			res.uncounted[table] = err
		} else if err != nil {
			return err
		}
	}
	return err
}
