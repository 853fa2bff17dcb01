package capture

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ExecContext runs a script, statement by statement. Each statement sees all
// of args, as with the driver itself.
func (c *Conn) ExecContext(ctx context.Context, script string, args []driver.NamedValue) (driver.Result, error) {
	return c.ExecChecked(ctx, script, args, func(string) error { return nil })
}

// ExecChecked is ExecContext for a script of which check has to allow each
// statement before it is run.
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

// lockFirst begins a transaction that has the write lock: from a statement's compilation
// on nobody can change the schema.
const lockFirst = "BEGIN IMMEDIATE"

// execWithin runs a statement that writes rows in a transaction of its own.
func (c *Conn) execWithin(ctx context.Context, begin, text string, args []driver.NamedValue) (res driver.Result, err error) {
	stop := c.Watch(ctx)
	defer stop()
	if err := c.Do(begin); err != nil {
		return nil, err
	}
	c.Before()
	res, err = c.Driver.ExecContext(ctx, text, args)
	if !c.Autocommit() { // also after an error: what a statement leaves then, as OR FAIL does, is meant to stay
		c.Before()
		shown := c.Counters() // the statement's, not those of FTS5 in the commit
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

// restlessness is for how long a connection takes the write lock before it compiles a
// statement, once the schema changed each time that it had read it.
const restlessness = time.Minute

// Restless says that the schema changes faster than this connection reads it.
func (c *Conn) Restless() bool { return time.Since(c.overtaken) < restlessness }

// Overtaken says whether err is that, and remembers it.
func (c *Conn) Overtaken(err error) bool {
	if !sqlite.IsSchema(err) {
		return false
	}
	c.overtaken = time.Now()
	return true
}

// QueryContext runs a script and returns the rows that the driver would: those
// of the last statement that has any, unless the script's very end is a
// statement without.
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

// queryOne runs one statement of a script. It returns its rows, or kept, those
// of an earlier one, and closes the others.
func (c *Conn) queryOne(ctx context.Context, text string, args []driver.NamedValue, kept driver.Rows, last bool) (driver.Rows, error) {
	if kept != nil && words(text, 1)[0] == "" {
		return kept, nil
	}
	var rows driver.Rows
	var err error
	if classify(text) == plain && !c.r.vtabs.aloneWritten(text) {
		c.After() // of an earlier query whose rows were closed since
		c.Before()
		rows, err = c.Driver.QueryContext(ctx, text, args)
		c.r.cascade.ran(text)
	} else {
		if err := closeRows(kept); err != nil { // our COMMIT would find it at work
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

// endsHere says that nothing, not even a space, comes after text's semicolon:
// where the driver looks for another statement and finds none, it keeps the
// rows that it has.
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

// next splits the first statement off script, as SQLite's parser sees it. A
// statement that does not compile is an error here and now: by the time the
// whole script were handed on, another connection's schema change could have
// made it compile, and it would run unseen.
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

// driverError lets the driver say itself that the first statement of script
// does not compile, so that callers see the error they know.
func (c *Conn) driverError(script string, err error) error {
	st, derr := c.Driver.PrepareContext(context.Background(), script)
	if derr != nil {
		return derr
	}
	return errors.Join(err, st.Close())
}

// cString is what SQLite sees of script: it ends at the first NUL.
func cString(script string) string {
	script, _, _ = strings.Cut(script, "\x00")
	return script
}
