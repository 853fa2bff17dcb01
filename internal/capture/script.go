package capture

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ExecContext runs a script, statement by statement. Each statement gets all of
// args, as with the driver itself.
func (c *Conn) ExecContext(ctx context.Context, script string, args []driver.NamedValue) (driver.Result, error) {
	return c.ExecChecked(ctx, script, args, func(string) error { return nil })
}

// ExecChecked is ExecContext, but calls check before it runs each statement and
// stops at its error.
func (c *Conn) ExecChecked(ctx context.Context, script string, args []driver.NamedValue, check func(string) error) (driver.Result, error) {
	var result driver.Result = driver.ResultNoRows
	for script = cString(script); ; {
		text, rest, err := c.next(script)
		if err == nil {
			err = check(text)
		}
		if err != nil {
			return nil, err
		}
		res, err := c.execOne(ctx, text, args)
		if err = c.explain(err); err != nil {
			return nil, err
		}
		if words(text, 1)[0] != "" {
			result = res
		}
		if script = rest; script == "" {
			return result, nil
		}
	}
}

func (c *Conn) execOne(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	defer c.After()
	switch classify(text) {
	case schema:
		return c.execSchema(ctx, text, args)
	case vacuum:
		return c.execVacuum(ctx, text, args)
	case attach:
		return c.execAttach(ctx, text, args)
	}
	defer c.r.cascade.ran(text)
	c.Before()
	if c.r.vtabs.aloneWritten(text) {
		return c.execWithin(ctx, "BEGIN", text, args)
	}
	alone := c.Autocommit() && writesRows(text)
	if alone && c.Restless() {
		return c.execWithin(ctx, lockFirst, text, args)
	}
	res, err := c.Driver.ExecContext(ctx, text, args)
	if alone && c.Overtaken(err) && c.Autocommit() {
		return c.execWithin(ctx, lockFirst, text, args)
	}
	return res, err
}

// lockFirst begins a transaction that has the write lock, so that no other connection can
// change the schema between a statement's compilation and its run.
const lockFirst = "BEGIN IMMEDIATE"

// execWithin runs a statement that writes rows in its own transaction.
func (c *Conn) execWithin(ctx context.Context, begin, text string, args []driver.NamedValue) (res driver.Result, err error) {
	stop := c.Watch(ctx)
	defer stop()
	if err := c.Do(begin); err != nil {
		return nil, err
	}
	c.Before()
	res, err = c.Driver.ExecContext(ctx, text, args)
	if !c.Autocommit() { // also after an error: rows that OR FAIL leaves behind are meant to stay
		c.Before()
		shown := c.Counters() // those of the statement, not of FTS5's writes in the commit
		err = errors.Join(err, c.Do("COMMIT"))
		shown.TotalChanges = c.Counters().TotalChanges
		c.SetCounters(shown)
	}
	if err != nil {
		stop()
		return nil, errors.Join(err, c.Rollback())
	}
	return res, nil
}

// restlessness is how long a connection takes the write lock before it compiles a
// statement, after the schema changed each time the connection had read it.
const restlessness = time.Minute

// Restless reports whether the schema changes faster than this connection can read it.
func (c *Conn) Restless() bool { return time.Since(c.overtaken) < restlessness }

// Overtaken reports whether err means that the schema changed too fast, and makes the
// connection Restless if so.
func (c *Conn) Overtaken(err error) bool {
	if !sqlite.IsSchema(err) {
		return false
	}
	c.overtaken = time.Now()
	return true
}

// QueryContext runs a script and returns the same rows as the driver would: those
// of the last statement that returns rows, unless the script's very last statement
// returns none.
func (c *Conn) QueryContext(ctx context.Context, script string, args []driver.NamedValue) (driver.Rows, error) {
	var kept driver.Rows
	for script = cString(script); ; {
		text, rest, err := c.next(script)
		if err == nil {
			kept, err = c.queryOne(ctx, text, args, kept, rest == "" && endsHere(text))
			err = c.explain(err)
		}
		if err != nil {
			if cerr := closeRows(kept); cerr != nil {
				return nil, errors.Join(err, cerr)
			}
			return nil, err
		}
		if script = rest; script == "" {
			return kept, nil
		}
	}
}

// queryOne runs one statement of a script. It returns either its rows or kept, the
// rows of an earlier statement, and closes the others.
func (c *Conn) queryOne(ctx context.Context, text string, args []driver.NamedValue, kept driver.Rows, last bool) (driver.Rows, error) {
	if kept != nil && words(text, 1)[0] == "" {
		return kept, nil
	}
	var rows driver.Rows
	var err error
	if classify(text) == plain && !c.r.vtabs.aloneWritten(text) {
		c.After() // for an earlier query whose rows have been closed since
		c.Before()
		rows, err = c.Driver.QueryContext(ctx, text, args)
		c.r.cascade.ran(text)
	} else {
		if err := closeRows(kept); err != nil { // our COMMIT would find the query still running
			return nil, err
		}
		kept = nil
		if _, err := c.execOne(ctx, text, args); err != nil {
			return nil, err
		}
		rows, err = c.Driver.QueryContext(ctx, "", nil)
	}
	if err != nil {
		return kept, err
	}
	if kept == nil || last || len(rows.Columns()) > 0 {
		return rows, closeRows(kept)
	}
	return kept, rows.Close()
}

// endsHere reports whether nothing, not even a space, comes after text's semicolon.
// If something does, the driver looks for another statement, finds none, and keeps
// the rows it has.
func endsHere(text string) bool {
	_, after, _ := strings.Cut(text[len(strings.TrimRight(text, "; \t\r\n\f")):], ";")
	return after == ""
}

func closeRows(rows driver.Rows) error {
	if rows == nil {
		return nil
	}
	return rows.Close()
}

// next splits the first statement off script, with SQLite's parser. A statement
// that does not compile is an error right away. If we passed the rest of the script
// on to the driver instead, another connection's schema change could make the
// statement compile by then, and it would run unseen by capture.
func (c *Conn) next(script string) (text, rest string, err error) {
	if !severalStatements(script) {
		return script, "", nil
	}
	return c.compile(script)
}

func (c *Conn) compile(script string) (text, rest string, err error) {
	st, tail, err := c.PrepareTail(script)
	if err != nil {
		return "", "", c.driverError(script, err)
	}
	if st != nil {
		st.Finalize()
	}
	return script[:len(script)-len(tail)], tail, nil
}

// driverError compiles the first statement of script with the driver, so that
// callers get the driver's own error.
func (c *Conn) driverError(script string, err error) error {
	st, derr := c.Driver.PrepareContext(context.Background(), script)
	if derr != nil {
		return derr
	}
	return errors.Join(err, st.Close())
}

// cString returns script up to the first NUL, where SQLite stops reading it.
func cString(script string) string {
	script, _, _ = strings.Cut(script, "\x00")
	return script
}
