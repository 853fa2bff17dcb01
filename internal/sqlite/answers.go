package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"

	"modernc.org/libc"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// answers turns the driver's errors into ours. Every part of the driver that runs a statement
// goes through it: a connection, its statements, transactions and rows.
type answers struct{ tls *libc.TLS }

// of returns err, or an *Error that wraps it.
func (a answers) of(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	// The text is "class: message (code)" if SQLite has a message of its own.
	msg := e.Error()
	if end := strings.LastIndex(msg, " ("+strconv.Itoa(e.Code())+")"); end >= 0 {
		msg = msg[:end]
	}
	ours := NewError(e.Code(), strings.TrimPrefix(msg, string(CString(lib.Xsqlite3_errstr(a.tls, int32(e.Code()))))+": "))
	ours.driver = err
	return ours
}

type answeringConn struct {
	driverConn
	answers
}

func (c answeringConn) Ping(ctx context.Context) error { return c.of(c.driverConn.Ping(ctx)) }
func (c answeringConn) ResetSession(ctx context.Context) error {
	return c.of(c.driverConn.ResetSession(ctx))
}
func (c answeringConn) Close() error { return c.of(c.driverConn.Close()) }

func (c answeringConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c answeringConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

func (c answeringConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.driverConn.BeginTx(ctx, opts)
	if err != nil {
		return nil, c.of(err)
	}
	return answeringTx{tx, c.answers}, nil
}

func (c answeringConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	res, err := c.driverConn.ExecContext(ctx, query, args)
	return res, c.of(err)
}

func (c answeringConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.rows(c.driverConn.QueryContext(ctx, query, args))
}

func (c answeringConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	st, err := c.driverConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, c.of(err)
	}
	full, ok := st.(driverStmt)
	if !ok {
		return nil, errors.Join(errDriverShape, st.Close())
	}
	return answeringStmt{full, c.answers}, nil
}

type answeringTx struct {
	driver.Tx
	answers
}

func (t answeringTx) Commit() error   { return t.of(t.Tx.Commit()) }
func (t answeringTx) Rollback() error { return t.of(t.Tx.Rollback()) }

// driverStmt is the full interface of the driver's statements.
type driverStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type answeringStmt struct {
	driverStmt
	answers
}

func (s answeringStmt) Close() error { return s.of(s.driverStmt.Close()) }

func (s answeringStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	res, err := s.driverStmt.ExecContext(ctx, args)
	return res, s.of(err)
}

func (s answeringStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.rows(s.driverStmt.QueryContext(ctx, args))
}

type answeringRows struct {
	DriverRows
	answers
}

func (a answers) rows(rows driver.Rows, err error) (driver.Rows, error) {
	if err != nil {
		return nil, a.of(err)
	}
	full, ok := rows.(DriverRows)
	if !ok {
		return nil, errors.Join(errRowsShape, rows.Close())
	}
	return answeringRows{full, a}, nil
}

func (r answeringRows) Next(dest []driver.Value) error { return r.of(r.DriverRows.Next(dest)) }
func (r answeringRows) Close() error                   { return r.of(r.DriverRows.Close()) }
