// Package undo takes back transactions: it makes the rows that they changed what they were
// before, in one new transaction, which is captured like any other.
//
// What the transactions did to each row, and what came of it since, is read from the log
// before the write lock is taken. Under the lock the rest of the log is read, each row is
// compared with what it should be, and only then is anything written: nothing slips between.
package undo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrConflict means that rows have been changed since, or that the undo would leave
// references to rows that do not exist. Nothing was changed.
var ErrConflict = errors.New("the undo conflicts with what came later")

// Options says what to undo.
type Options struct {
	From, To int64                   // the transactions with these changes, and all between
	Table    string                  // only this table's rows; "": all
	Key      map[string]change.Value // only this row; nil: all
	Force    bool                    // also rows that have been changed since
	DryRun   bool                    // roll back instead of committing
}

// Result is what was done, or would be.
type Result struct {
	From, To     int64 // the first and last change of the transactions
	Transactions int
	Undone       int // rows

	Conflicts   []Conflict // at most maxConflicts
	Conflicting int        // how many there are

	SQL      []string // the statements, at most maxSQL and a comment that says how many more
	Sequence int64    // the last change of the undo's own transaction; 0: nothing was committed
	Unlogged string   // why the log cannot describe the undo, so that it cannot be undone; ""
}

// Conflict is a row that cannot be taken back without losing something.
type Conflict struct {
	Table string
	Op    change.Op       // what the range did in the end
	Key   []change.Column // when the range first changed the row

	Was, Made, Now []change.Column // before the range, after it, and now; nil: there is no row
	Columns        []string        // of all three, in the order of the table

	Sequence, Tx, Millis int64  // the last change since; 0: none is known
	Reason               string // of a reference to a row that would not exist
}

// maxConflicts bounds the memory for conflicts.
const maxConflicts = 10_000

// Database is what an undo uses of an open database.
type Database struct {
	Log history.Log

	// Write runs fn with a connection that no one else uses and whose page cache is empty:
	// virtual tables keep what they have read from their shadow tables. The writer stands
	// back meanwhile. It may take over the database if commits is set.
	Write func(ctx context.Context, commits bool, fn func(*capture.Conn) error) error
}

// job is one undo.
type job struct {
	db  Database
	o   Options
	net *net
	res Result

	next   int64 // the next change to read; 0: nothing has been read
	seen   int64 // the last transaction that was counted
	layout layout

	definitions []definition // of the range
	later       []definition // that alter or drop something after it
	barriers    []definition // in the range or after it

	c      *capture.Conn
	replay *apply.Replay
	sql    script
}

// Run undoes what o says.
func Run(ctx context.Context, db Database, o Options) (_ Result, err error) {
	switch {
	case o.From < 1 || o.To < 1:
		return Result{}, errors.New("an undo needs the sequences of its first and last change: From and To, which may be the same")
	case o.To < o.From:
		return Result{}, fmt.Errorf("the changes %d to %d end before they begin", o.From, o.To)
	case o.Key != nil && o.Table == "":
		return Result{}, errors.New("an undo of one row needs its table")
	}
	j := &job{db: db, o: o}
	if j.net, err = newNet(); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, j.net.close()) }()
	for {
		if err := j.gather(ctx); err != nil {
			return j.res, err
		}
		err := db.Write(ctx, !o.DryRun, func(c *capture.Conn) error { return j.write(ctx, c) })
		if _, trimmed := errors.AsType[*trimmed](err); !trimmed {
			return j.res, err
		} // what was still to be read has been sent and trimmed meanwhile
	}
}

// write decides and does, in one transaction.
func (j *job) write(ctx context.Context, c *capture.Conn) (err error) {
	if j.replay, err = apply.NewReplay(c.Conn); err != nil {
		return err
	}
	defer j.replay.Close()
	j.c = c
	c.Before()
	if err := c.Do("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, c.Rollback())
		c.After()
	}()
	if reason, notice := c.Missed(); notice != 0 {
		return fmt.Errorf("%s just now, which the log cannot describe: nothing was changed; try again", reason)
	}
	if err := j.readRest(ctx); err != nil {
		return err
	}
	if err := j.layout.read(c.Conn); err != nil {
		return err
	}
	if j.o.Key != nil {
		if err := j.net.keep(j.o.Key); err != nil {
			return err
		}
	}
	if err := j.refuse(); err != nil {
		return err
	}
	if err := j.decide(ctx); err != nil {
		return err
	}
	if n := j.res.Conflicting; n > 0 && !j.o.Force {
		return fmt.Errorf("%w: %s changed since; nothing was changed", ErrConflict, rows(n))
	}
	if err := j.apply(ctx); err != nil {
		return err
	}
	return j.commit(ctx)
}

func rows(n int) string {
	if n == 1 {
		return "1 row was"
	}
	return fmt.Sprintf("%d rows were", n)
}

// commit commits what apply has done, unless it is only a trial or nothing.
func (j *job) commit(ctx context.Context) error {
	j.res.SQL = j.sql.done()
	if j.sql.count == 0 {
		return nil
	}
	j.res.Unlogged = j.c.Barred()
	if j.o.DryRun {
		return nil
	}
	log := changelog.View(j.c.Conn)
	last, err := log.Last()
	if err != nil {
		return err
	}
	j.c.Before()
	if err := j.c.Do("COMMIT"); err != nil {
		return err
	}
	j.c.After()
	j.res.Sequence = last + 1 // if the log has been trimmed since
	return j.c.About("SELECT sequence + count - 1 FROM main._driftdb_log WHERE sequence = CAST(?1 AS INTEGER)", fmt.Sprint(last+1),
		func(st *sqlite.Stmt) { j.res.Sequence = st.Int64(0) })
}

// maxSQL and maxSQLBytes bound the statements that a result keeps.
const (
	maxSQL      = 1000
	maxSQLBytes = 1 << 20
)

// script collects the statements that are run.
type script struct {
	list  []string
	bytes int
	count int
}

// full reports whether further statements are only counted.
func (s *script) full() bool { return len(s.list) >= maxSQL || s.bytes >= maxSQLBytes }

// add adds a statement, whose text is asked for only if it is kept.
func (s *script) add(text func() (string, error)) error {
	s.count++
	if s.full() {
		return nil
	}
	t, err := text()
	s.list, s.bytes = append(s.list, t), s.bytes+len(t)
	return err
}

func (s *script) done() []string {
	if more := s.count - len(s.list); more > 0 {
		return append(s.list, fmt.Sprintf("-- and %d more statements", more))
	}
	return s.list
}

// wants reports whether the rows of a table are to be undone.
func (j *job) wants(table string) bool {
	return j.o.Table == "" || strings.EqualFold(j.o.Table, table) ||
		j.o.Key == nil && strings.EqualFold(j.layout.owner(table), j.o.Table)
}
