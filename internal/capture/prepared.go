package capture

import (
	"context"
	"database/sql/driver"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// statement is a prepared statement for database/sql.
type statement struct {
	inner  driver.Stmt
	c      *Conn
	query  string
	script bool // must run as a script each time
}

var (
	_ driver.StmtExecContext  = (*statement)(nil)
	_ driver.StmtQueryContext = (*statement)(nil)
)

func (s *statement) Close() error  { return s.inner.Close() }
func (s *statement) NumInput() int { return s.inner.NumInput() }

func (s *statement) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if s.asScript() {
		return s.c.ExecContext(ctx, s.query, args)
	}
	s.c.Before()
	defer s.c.After()
	res, err := s.inner.(driver.StmtExecContext).ExecContext(ctx, args)
	return res, s.c.explain(err)
}

func (s *statement) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if s.asScript() {
		return s.c.QueryContext(ctx, s.query, args)
	}
	s.c.After()
	s.c.Before()
	rows, err := s.inner.(driver.StmtQueryContext).QueryContext(ctx, args)
	return rows, s.c.explain(err)
}

// asScript reports whether the statement must run as a script rather than be stepped.
func (s *statement) asScript() bool { return s.script || s.c.r.vtabs.aloneWritten(s.query) }

// Exec is ExecContext with a background context.
func (s *statement) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), sqlite.Named(args))
}

// Query is QueryContext with a background context.
func (s *statement) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), sqlite.Named(args))
}
