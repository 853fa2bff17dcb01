// Package readsql gives database/sql read-only connections. It can take them back even
// if the program still holds a sql.Conn, a transaction, statements or rows.
package readsql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Connector opens connections for database/sql.
type Connector struct {
	open   func() (*sqlite.Conn, error)
	refuse error
	lent   sqlite.Loans
}

var (
	_ driver.Connector = (*Connector)(nil)
	_ driver.Driver    = (*Connector)(nil)
)

// New returns a connector that opens its connections with open. A write fails with refuse.
func New(open func() (*sqlite.Conn, error), refuse error) *Connector {
	return &Connector{open: open, refuse: refuse}
}

// Connect opens a connection.
func (k *Connector) Connect(context.Context) (driver.Conn, error) {
	s := &session{from: k}
	err := k.lent.Lend(func() (*sqlite.Loan, error) {
		c, err := k.open()
		if err != nil {
			return nil, err
		}
		s.inner = c.Driver
		s.loan = sqlite.NewLoan(c, nil)
		return s.loan, nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Driver returns the connector itself.
func (k *Connector) Driver() driver.Driver { return k }

// Open is for callers of Driver; it ignores the name.
func (k *Connector) Open(string) (driver.Conn, error) { return k.Connect(context.Background()) }

// OldestRead returns the age of the oldest read on a connection; see
// [sqlite.Loans.OldestRead].
func (k *Connector) OldestRead() time.Duration { return k.lent.OldestRead() }

// Shut ends all work on the connections except running statements. Later calls fail with
// why.
func (k *Connector) Shut(why error) { k.lent.Shut(why) }

// Recall closes all connections, after Shut. Running statements may go on until deadline;
// then they are interrupted.
func (k *Connector) Recall(deadline time.Time) error { return k.lent.Recall(deadline) }

// explain adds the cause to an error: refuse if SQLite refused a write, and the reason
// given to Shut if a statement was interrupted to take back its connection.
func (k *Connector) explain(err error) error {
	if sqlite.IsReadOnly(err) {
		return fmt.Errorf("%w: %w", k.refuse, err)
	}
	if why := k.lent.Shutting(); why != nil && sqlite.Stopped(err) {
		return fmt.Errorf("%w: %w", why, err)
	}
	return err
}

// session is a connection in the hands of database/sql. Each call is a use of the loan.
type session struct {
	from  *Connector
	loan  *sqlite.Loan
	inner sqlite.DriverConn
}

var (
	_ driver.ExecerContext      = (*session)(nil)
	_ driver.QueryerContext     = (*session)(nil)
	_ driver.ConnPrepareContext = (*session)(nil)
	_ driver.ConnBeginTx        = (*session)(nil)
	_ driver.SessionResetter    = (*session)(nil)
	_ driver.Validator          = (*session)(nil)
	_ driver.Pinger             = (*session)(nil)
)

// use runs fn, which may use the connection.
func (s *session) use(fn func() error) error {
	if err := s.loan.Enter(); err != nil {
		return err
	}
	defer s.loan.Leave()
	return s.from.explain(fn())
}

func (s *session) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (res driver.Result, err error) {
	err = s.use(func() error {
		res, err = s.inner.ExecContext(ctx, query, args)
		return err
	})
	return res, err
}

func (s *session) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return s.rows(func() (driver.Rows, error) { return s.inner.QueryContext(ctx, query, args) })
}

// rows lends the rows of query.
func (s *session) rows(query func() (driver.Rows, error)) (driver.Rows, error) {
	r := &rows{LentRows: sqlite.LentRows{Use: s.use}, s: s}
	err := s.use(func() error {
		inner, err := query()
		if err != nil {
			return err
		}
		r.DriverRows = inner.(sqlite.DriverRows)
		s.loan.Keep(&r.kept, inner)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// PrepareContext compiles a statement.
func (s *session) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	p := &statement{s: s}
	err := s.use(func() error {
		inner, err := s.inner.PrepareContext(ctx, query)
		if err != nil {
			return err
		}
		p.inner = inner
		s.loan.Keep(&p.kept, inner)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Prepare is PrepareContext with a background context.
func (s *session) Prepare(query string) (driver.Stmt, error) {
	return s.PrepareContext(context.Background(), query)
}

// BeginTx starts a transaction.
func (s *session) BeginTx(ctx context.Context, opts driver.TxOptions) (tx driver.Tx, err error) {
	opts.ReadOnly = true // otherwise it would ask for the write lock
	err = s.use(func() error {
		inner, err := s.inner.BeginTx(ctx, opts)
		tx = transaction{inner, s}
		return err
	})
	if err != nil {
		return nil, err
	}
	return tx, nil
}

// Begin is BeginTx with the defaults.
func (s *session) Begin() (driver.Tx, error) {
	return s.BeginTx(context.Background(), driver.TxOptions{})
}

// ResetSession is called before each new use of a pooled connection.
func (s *session) ResetSession(ctx context.Context) error {
	if s.loan.Enter() != nil {
		return driver.ErrBadConn
	}
	defer s.loan.Leave()
	return s.inner.ResetSession(ctx)
}

// IsValid reports whether the connection may be used again.
func (s *session) IsValid() bool {
	if s.loan.Enter() != nil {
		return false
	}
	defer s.loan.Leave()
	return s.inner.IsValid()
}

// Ping checks the connection.
func (s *session) Ping(ctx context.Context) error {
	return s.use(func() error { return s.inner.Ping(ctx) })
}

// Close closes the connection, unless it has been taken back.
func (s *session) Close() (err error) {
	s.loan.Return(driver.ErrBadConn, func() { err = s.loan.Conn.Close() })
	return err
}

// transaction is a read transaction.
type transaction struct {
	inner driver.Tx
	s     *session
}

func (t transaction) Commit() error   { return t.s.use(t.inner.Commit) }
func (t transaction) Rollback() error { return t.s.use(t.inner.Rollback) }

// statement is a prepared statement.
type statement struct {
	inner driver.Stmt
	s     *session
	kept  sqlite.Kept
}

var (
	_ driver.StmtExecContext  = (*statement)(nil)
	_ driver.StmtQueryContext = (*statement)(nil)
)

func (p *statement) NumInput() int { return p.inner.NumInput() }

func (p *statement) Close() error {
	return p.s.use(func() error { return p.s.loan.Drop(&p.kept) })
}

func (p *statement) ExecContext(ctx context.Context, args []driver.NamedValue) (res driver.Result, err error) {
	err = p.s.use(func() error {
		res, err = p.inner.(driver.StmtExecContext).ExecContext(ctx, args)
		return err
	})
	return res, err
}

func (p *statement) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return p.s.rows(func() (driver.Rows, error) { return p.inner.(driver.StmtQueryContext).QueryContext(ctx, args) })
}

// Exec is ExecContext with a background context.
func (p *statement) Exec(args []driver.Value) (driver.Result, error) {
	return p.ExecContext(context.Background(), sqlite.Named(args))
}

// Query is QueryContext with a background context.
func (p *statement) Query(args []driver.Value) (driver.Rows, error) {
	return p.QueryContext(context.Background(), sqlite.Named(args))
}
