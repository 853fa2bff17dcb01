// Package consume knows what a consumer is: a name with a position in the log, kept in a
// table of the user's database, and which changes go to it.
//
// The table is captured like any other, so the position is part of whatever state of the
// database is restored, together with the effects of the changes up to it. The changes of
// the table itself go to no consumer, and neither does a transaction that moved the
// consumer's own position go to that consumer: it made that transaction.
package consume

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Table is the name of the table that holds the positions.
const Table = "driftdb_consumers"

const create = `CREATE TABLE IF NOT EXISTS driftdb_consumers(
	name        TEXT PRIMARY KEY NOT NULL,
	position    INTEGER NOT NULL, -- the last change that the consumer has handled
	database_id TEXT NOT NULL     -- whose changes the position counts
) WITHOUT ROWID`

var (
	// ErrRunning means that the consumer is already running in this process, which is the
	// only one that can write the file.
	ErrRunning = errors.New("it is running already: one call of Consume at a time can have a consumer's name")
	// ErrMoved means that a consumer's row is not what it was when the consumer last
	// wrote it.
	ErrMoved = errors.New("its row in driftdb_consumers was changed by somebody else: call Consume again to go on from what the row says now")
	// ErrAhead means that a consumer's position is not in the database's history.
	ErrAhead = errors.New("the history of this database is not the one that the consumer has read: bring what it maintains up to date with the tables, delete its row in driftdb_consumers, and call Consume again")
)

// Consumer says what a consumer is to get.
type Consumer struct {
	Name  string
	From  int64  // a new consumer's first change; 0: the first to come
	Table string // only changes of this table's rows, and barriers; "": all
}

// Check returns what is wrong with c.
func (c Consumer) Check() error {
	switch {
	case c.Name == "":
		return errors.New("the name of a consumer is empty")
	case c.From < 0:
		return fmt.Errorf("From is negative (%d); give the number of a change, or 0 for what is to come", c.From)
	case history.SameName(c.Table, Table):
		return errors.New("the changes of driftdb_consumers go to no consumer")
	}
	return nil
}

// Exec runs a statement in the transaction of a consumer.
type Exec func(ctx context.Context, query string, args []any) (sql.Result, error)

// Position is how far a consumer has come, as its row says.
type Position struct {
	Sequence   int64
	DatabaseID string
}

// Find reads the consumer's row.
func (c Consumer) Find(conn *sqlite.Conn) (p Position, found bool, err error) {
	if n, err := conn.Int("SELECT count(*) FROM main.sqlite_schema WHERE name = 'driftdb_consumers'"); err != nil || n == 0 {
		return p, false, err
	}
	st, err := conn.Cached("SELECT position, database_id FROM main.driftdb_consumers WHERE name = ?1")
	if err != nil {
		return p, false, err
	}
	defer st.Release()
	st.BindText(1, c.Name)
	err = st.Each(func(st *sqlite.Stmt) error {
		found, p = true, Position{Sequence: st.Int64(0), DatabaseID: st.Text(1)}
		return nil
	})
	return p, found, err
}

// Add adds the consumer, which begins after p.
func (c Consumer) Add(ctx context.Context, exec Exec, p Position) error {
	if _, err := exec(ctx, create, nil); err != nil {
		return err
	}
	_, err := exec(ctx, "INSERT INTO main.driftdb_consumers(name, position, database_id) VALUES(?1, ?2, ?3)", []any{c.Name, p.Sequence, p.DatabaseID})
	return err
}

// Move moves the consumer from one position to another. It must be in the transaction that
// holds what the changes in between have caused.
func (c Consumer) Move(ctx context.Context, exec Exec, from, to Position) error {
	res, err := exec(ctx, "UPDATE main.driftdb_consumers SET position = ?1, database_id = ?2 WHERE name = ?3 AND position = ?4 AND database_id = ?5",
		[]any{to.Sequence, to.DatabaseID, c.Name, from.Sequence, from.DatabaseID})
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, ErrMoved)
	}
	return nil
}

// selects reports whether the consumer gets a change of a transaction that is not its own.
func (c Consumer) selects(e *change.Entry) bool {
	switch {
	case history.SameName(e.Table, Table), e.SQL == create:
		return false
	case c.Table == "", e.Op == change.Barrier:
		return true
	}
	return history.SameName(e.Table, c.Table)
}

// moves reports whether e moved the consumer.
func (c Consumer) moves(e *change.Entry) bool {
	if !history.SameName(e.Table, Table) {
		return false
	}
	for i := range e.Key {
		if v := &e.Key[i].Value; e.Key[i].Name == "name" && v.Kind == change.Text && string(v.Bytes) == c.Name {
			return true
		}
	}
	return false
}
