//go:build !race

package model_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go"
)

// session runs statements in one of the ways that there are.
type session interface {
	exec(query string, args []any) error
	String() string
}

// run runs a statement. It may fail, as random ones do, but not for a reason
// that is ours.
func (m *model) run(s session, query string, args ...any) error {
	err := s.exec(query, args)
	m.note(s.String(), query, args, err)
	return err
}

func (m *model) note(who, query string, args []any, err error) {
	m.Logf("%s: %s %.200q\n\t%v", who, query, args, err)
	if err != nil && internal(err) {
		m.Fatalf("%s: %s: %v", who, query, err)
	}
}

// internal says whether an error is a bug's and not the statement's.
func internal(err error) bool {
	for _, is := range []error{driftdb.ErrFenced, driftdb.ErrDiverged, driftdb.ErrCorrupt} {
		if errors.Is(err, is) {
			return true
		}
	}
	text := err.Error()
	if strings.Contains(text, "(267)") {
		return false // SQLITE_CORRUPT_VTAB: FTS5 whose external content is not what it was told
	}
	for _, part := range []string{"capture:", "_driftdb_", "malformed", "disk I/O", "misuse", "locking protocol"} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// someone is one of the clients, or the database's own writer.
func (m *model) someone() session {
	if m.one(3) {
		return m.writer()
	}
	return pick(m.T, m.clients...)
}

func (m *model) writer() session { return writer{m.db} }

// writer is db.Exec.
type writer struct{ db *driftdb.DB }

func (w writer) String() string { return "db" }

func (w writer) exec(query string, args []any) error {
	_, err := w.db.Exec(context.Background(), query, args...)
	return err
}

// inTx is tx.Exec.
type inTx struct{ tx *driftdb.Tx }

func (x inTx) String() string { return "tx" }

func (x inTx) exec(query string, args []any) error {
	_, err := x.tx.Exec(context.Background(), query, args...)
	return err
}

var errUndone = errors.New("undone on purpose")

// tx is a transaction of db.Tx, with savepoints.
func (m *model) tx() {
	err := m.db.Tx(context.Background(), func(tx *driftdb.Tx) error { return m.within(tx, 0) })
	m.note("db", "Tx", nil, err)
}

func (m *model) within(tx *driftdb.Tx, depth int) error {
	for range m.below(5) {
		if depth < 3 && m.one(4) {
			err := tx.Savepoint(context.Background(), func(tx *driftdb.Tx) error { return m.within(tx, depth+1) })
			m.note("tx", "Savepoint", nil, err)
			continue
		}
		if m.one(4) {
			m.write(m.people, tx)
			continue
		}
		query, args := m.statement()
		if err := m.run(inTx{tx}, query, args...); err != nil && m.one(3) {
			return err
		}
	}
	if m.one(4) {
		return errUndone
	}
	return nil
}

// client is a connection of db.SQL(). It may have a transaction and a query
// open.
type client struct {
	*model
	name     string
	c        *sql.Conn
	prepared map[string]*sql.Stmt
	cursor   *sql.Rows // half read …
	of       string    // … of this query
}

func (c *client) String() string { return c.name }

// exec takes one of the ways a statement can come: as it is, prepared, or as a
// query of which a few rows are read.
func (c *client) exec(query string, args []any) error {
	ctx := context.Background()
	switch c.below(6) {
	case 0:
		st, err := c.prepare(query)
		if err == nil {
			_, err = st.ExecContext(ctx, args...)
		}
		return err
	case 1:
		st, err := c.prepare(query)
		if err != nil {
			return err
		}
		rows, err := st.QueryContext(ctx, args...)
		return c.read(query, rows, err)
	case 2:
		rows, err := c.c.QueryContext(ctx, query, args...)
		return c.read(query, rows, err)
	}
	_, err := c.c.ExecContext(ctx, query, args...)
	return err
}

func (c *client) prepare(query string) (*sql.Stmt, error) {
	if st := c.prepared[query]; st != nil {
		if c.of == query {
			return st, c.closeCursor() // the driver cannot run a statement twice at once
		}
		return st, nil
	}
	st, err := c.c.PrepareContext(context.Background(), query)
	if err == nil {
		if c.prepared == nil {
			c.prepared = map[string]*sql.Stmt{}
		}
		c.prepared[query] = st
	}
	return st, err
}

// read reads some rows, and may leave the query open.
func (c *client) read(query string, rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	for n := c.below(4); n > 0 && rows.Next(); n-- {
	}
	if err := rows.Err(); err != nil {
		return errors.Join(err, rows.Close())
	}
	if c.cursor == nil && c.one(4) {
		c.cursor, c.of = rows, query
		return nil
	}
	return rows.Close()
}

func (c *client) closeCursor() error {
	rows := c.cursor
	c.cursor, c.of = nil, ""
	return rows.Close()
}

// transaction runs a few statements between BEGIN and COMMIT, with savepoints,
// and may leave it open.
func (c *client) transaction() {
	c.run(c, c.word("BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT outer", "BEGIN IMMEDIATE"))
	depth := 0
	for range c.below(9) {
		switch c.below(6) {
		case 0:
			c.run(c, fmt.Sprint("SAVEPOINT s", depth))
			depth++
		case 1:
			if depth > 0 {
				c.run(c, fmt.Sprint("ROLLBACK TO s", c.below(depth)))
			}
		case 2:
			if depth > 0 {
				depth = c.below(depth)
				c.run(c, fmt.Sprint("RELEASE s", depth))
			}
		case 3:
			if c.one(4) {
				query, args := c.statement()
				c.run(c.someone(), query, args...)
			}
		default:
			query, args := c.statement()
			c.run(c, query, args...)
		}
	}
	if end := c.word("COMMIT", "COMMIT", "RELEASE outer", "ROLLBACK", ""); end != "" {
		c.run(c, end)
	}
	if !c.one(8) {
		c.settle()
	}
}

// settle ends a query and a transaction.
func (c *client) settle() {
	if c.cursor != nil {
		c.note(c.name, "Rows.Close", nil, c.closeCursor())
	}
	if _, err := c.c.ExecContext(context.Background(), "ROLLBACK"); err == nil || internal(err) {
		c.note(c.name, "ROLLBACK", nil, err)
	}
}

// close gives the connection back as it is.
func (c *client) close() {
	if c.cursor != nil {
		c.cursor.Close()
	}
	for _, st := range c.prepared {
		st.Close()
	}
	c.c.Close()
}

// repairedForeignKey fails at COMMIT, and again, until the row that it needs
// is there.
func (m *model) repairedForeignKey() {
	c := pick(m.T, m.clients...)
	c.settle()
	m.run(c, "CREATE TABLE IF NOT EXISTS kid(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED)")
	m.run(c, "BEGIN")
	n := m.below(20)
	m.run(c, "INSERT INTO kid(p) VALUES(?)", n)
	m.run(c, "COMMIT")
	if m.one(3) {
		query, args := m.statement()
		m.run(c, query, args...)
	}
	if m.one(2) {
		m.run(c, "INSERT INTO p(id) VALUES(?)", n)
	} else {
		m.run(c, "DELETE FROM kid WHERE p = ?", n)
	}
	m.run(c, "COMMIT")
	c.settle()
}
