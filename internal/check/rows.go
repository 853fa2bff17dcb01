package check

import (
	"context"
	"errors"
	"maps"
	"sync"

	"github.com/driftdb/driftdb-go/internal/digest/scan"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// beside runs SQLite's checks while another connection reads the rows. The first error of
// either is returned, and ends the other. Each has its own run and its own fields of the
// report: rows writes Digests, Unread and Rows, pages all others.
func (r *run) beside(o Options, rep *Report) (err error) {
	c, err := o.Open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(r.ctx)
	reader := &run{ctx: ctx, c: c, found: map[Fault]bool{}}
	stop, stopReader := r.c.Watch(ctx), c.Watch(ctx)
	var checking sync.WaitGroup
	defer func() {
		cancel(nil) // of a caller whose Progress does not return
		checking.Wait()
		stop()
		stopReader()
		err = errors.Join(err, c.Close())
	}()
	checking.Go(func() {
		if err := r.pages(o, rep); err != nil {
			cancel(err)
		}
	})
	if err := reader.rows(o, rep); err != nil {
		cancel(err)
	}
	checking.Wait()
	maps.Copy(r.found, reader.found)
	return context.Cause(ctx)
}

// pages checks the file without reading its rows: SQLite's checks, and what they leave out.
func (r *run) pages(o Options, rep *Report) error {
	if err := r.structure(o, rep); err != nil {
		return err
	}
	if err := r.strays(); err != nil {
		return err
	}
	return r.compile(rep.tables)
}

// rows reads all rows.
func (r *run) rows(o Options, rep *Report) error {
	rows, uncounted, err := r.count()
	if err != nil {
		return err
	}
	total, progress := int64(0), func(int64) {}
	for _, n := range rows {
		total += n
	}
	if o.Progress != nil {
		progress = func(read int64) { o.Progress(min(read, total), total) } // a damaged table may count fewer
	}
	if rep.Digests, rep.Unread, err = scan.Readable(r.ctx, r.c, progress); err != nil {
		return err
	}
	for table := range rep.Unread {
		delete(rows, table)
		delete(uncounted, table) // one reason is enough
	}
	for _, n := range rows {
		rep.Rows += n
	}
	for _, why := range []scan.Unread{rep.Unread, uncounted} {
		for table, err := range why {
			if err := r.told(table, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// count counts the rows of each ordinary table. That takes a fraction of reading them.
func (r *run) count() (rows map[string]int64, uncounted scan.Unread, err error) {
	var tables []string
	if err := r.c.Each(`SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`, func(st *sqlite.Stmt) error {
		tables = append(tables, st.Text(0))
		return nil
	}); err != nil {
		return nil, nil, err
	}
	rows, uncounted = map[string]int64{}, scan.Unread{}
	for _, table := range tables {
		n, err := r.c.Int("SELECT count(*) FROM main." + sqlite.Quote(table) + " NOT INDEXED")
		switch {
		case err == nil:
			rows[table] = n
		case scan.Lacks(err) || sqlite.IsNotDatabase(err):
			uncounted[table] = err
		default:
			return nil, nil, err
		}
	}
	return rows, uncounted, nil
}
