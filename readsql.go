package driftdb

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// readConnector opens the connections of SQL for a database that only reads.
type readConnector struct {
	open func() (*sqlite.Conn, error)
}

// Connect opens a connection.
func (k readConnector) Connect(context.Context) (driver.Conn, error) {
	c, err := k.open()
	if err != nil {
		return nil, export(err)
	}
	return &readSession{c.Driver, c}, nil
}

// Driver is the connector itself.
func (k readConnector) Driver() driver.Driver { return k }

// Open is for callers of Driver; the name is not looked at.
func (k readConnector) Open(string) (driver.Conn, error) { return k.Connect(context.Background()) }

// readSession is a connection as database/sql has it: the driver's own, but that a
// write is ErrReadOnly.
type readSession struct {
	sqlite.DriverConn
	c *sqlite.Conn
}

func (s *readSession) Close() error { return s.c.Close() }

func (s *readSession) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	res, err := s.DriverConn.ExecContext(ctx, query, args)
	return res, readOnlyError(err)
}

func (s *readSession) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.DriverConn.QueryContext(ctx, query, args)
	return rows, readOnlyError(err)
}

func (s *readSession) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	st, err := s.DriverConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, readOnlyError(err)
	}
	return readStmt{st}, nil
}

// readStmt is a prepared statement.
type readStmt struct{ driver.Stmt }

func (s readStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	res, err := s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	return res, readOnlyError(err)
}

func (s readStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	return rows, readOnlyError(err)
}

// readOnlyError makes SQLite's refusal of a write what it means here.
func readOnlyError(err error) error {
	if sqlite.IsReadOnly(err) {
		return fmt.Errorf("%w: %w", errOpenedReadOnly, err)
	}
	return err
}
