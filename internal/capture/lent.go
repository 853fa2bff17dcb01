package capture

import (
	"context"
	"database/sql/driver"
	"io"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// The transactions, statements and rows that a session gives to database/sql. Each call
// to one of them is a use of the loan.

// lentTx is a transaction.
type lentTx struct {
	inner driver.Tx
	s     *session
}

func (t lentTx) Commit() error {
	return t.s.use(func() error {
		if over := t.s.tx.over; over != nil {
			t.s.tx = txState{}
			return over
		}
		t.s.tx = txState{}
		defer t.s.c.Admit(false)
		return t.inner.Commit()
	})
}

func (t lentTx) Rollback() error {
	return t.s.use(func() error {
		over := t.s.tx.over
		t.s.tx = txState{}
		t.s.c.Admit(false)
		if over != nil {
			return nil // SQLite has rolled back already
		}
		return t.inner.Rollback()
	})
}

// prepared is a prepared statement.
type prepared struct {
	inner *statement
	s     *session
	kept  sqlite.Kept
}

var (
	_ driver.StmtExecContext  = (*prepared)(nil)
	_ driver.StmtQueryContext = (*prepared)(nil)
)

func (p *prepared) NumInput() int { return p.inner.NumInput() }

func (p *prepared) Close() error {
	return p.s.use(func() error { return p.s.loan.Drop(&p.kept) })
}

func (p *prepared) ExecContext(ctx context.Context, args []driver.NamedValue) (res driver.Result, err error) {
	err = p.s.uncontested(ctx, p.inner.query, func() error {
		if err = p.s.mayRun(p.inner.query); err != nil {
			return err
		}
		res, err = p.inner.ExecContext(ctx, args)
		return p.s.ran(p.inner.query, err)
	})
	return res, err
}

func (p *prepared) QueryContext(ctx context.Context, args []driver.NamedValue) (rows driver.Rows, err error) {
	if err := p.s.settleRows(ctx, p.inner.query); err != nil {
		return nil, err
	}
	err = p.s.use(func() error {
		if err = p.s.mayRun(p.inner.query); err != nil {
			return err
		}
		rows, err = p.s.rows(p.inner.QueryContext(ctx, args))
		return p.s.ran(p.inner.query, err)
	})
	return rows, err
}

// Exec is ExecContext with a background context.
func (p *prepared) Exec(args []driver.Value) (driver.Result, error) {
	return p.ExecContext(context.Background(), sqlite.Named(args))
}

// Query is QueryContext with a background context.
func (p *prepared) Query(args []driver.Value) (driver.Rows, error) {
	return p.QueryContext(context.Background(), sqlite.Named(args))
}

// lentRows are rows.
type lentRows struct {
	sqlite.LentRows
	s     *session
	kept  sqlite.Kept
	ended bool // all rows were read, so their statement has completed
}

// rows lends the rows of a query.
func (s *session) rows(rows driver.Rows, err error) (driver.Rows, error) {
	if err != nil {
		return nil, err
	}
	r := &lentRows{LentRows: sqlite.LentRows{DriverRows: rows.(sqlite.DriverRows), Use: s.use}, s: s}
	s.loan.Keep(&r.kept, rows)
	return r, nil
}

func (r *lentRows) Next(dest []driver.Value) error {
	if err := r.s.loan.Enter(); err != nil {
		return err
	}
	defer r.s.leave()
	err := r.DriverRows.Next(dest)
	if err == nil {
		return nil
	}
	if r.ended = err == io.EOF; r.ended {
		return err
	}
	err = r.s.ran("", err)
	return r.s.explain(r.s.c.explain(err)) // a statement that returns rows may commit with the last row
}

// Close ends the rows. If the connection was taken back before all rows were read, a
// write was rolled back, and Close returns the error: this is where QueryRow sees it.
func (r *lentRows) Close() error {
	if err := r.s.loan.Enter(); err != nil {
		if r.ended {
			return nil
		}
		return err
	}
	defer r.s.leave()
	err := r.s.ran("", r.s.c.explain(r.s.loan.Drop(&r.kept)))
	r.s.c.After()
	return r.s.explain(err)
}
