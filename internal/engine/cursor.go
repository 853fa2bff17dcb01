package engine

import (
	"context"
	"errors"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// errReadDone is never seen, because no code uses a reader that was put back.
var errReadDone = errors.New("the read has ended")

// Cursor is a query whose rows are handed out one by one. The caller's code runs between
// two rows, and meanwhile the connection may be taken away or the transaction may end. So
// the loan of the connection keeps the cursor, and closes it in that case.
type Cursor struct {
	db   *DB
	ctx  context.Context
	tx   *Tx // nil: the cursor has a connection of its own
	loan *sqlite.Loan
	kept sqlite.Kept
	st   *sqlite.Stmt
	stop func() // ends the watch over ctx
}

// Open begins a query.
func (c Conn) Open(ctx context.Context, query string, bind func(*sqlite.Stmt)) (*Cursor, error) {
	cur := &Cursor{db: c.db, ctx: ctx, tx: c.tx}
	if c.tx != nil {
		cur.loan = c.tx.loan
	} else {
		var err error
		if cur.loan, err = c.db.conns.readers.Get(ctx); err != nil {
			return nil, err
		}
	}
	err := cur.use(func() (err error) {
		c := cur.loan.Conn
		if cur.tx != nil && cur.tx.w != nil {
			cur.tx.w.Conn().Before()
		}
		if cur.st, err = c.Cached(query); err != nil {
			return err
		}
		bind(cur.st)
		cur.stop = c.Watch(ctx)
		cur.loan.Keep(&cur.kept, cur)
		return nil
	})
	if err != nil {
		cur.End()
		return nil, err
	}
	return cur, nil
}

// use runs fn while the cursor has the use of its connection.
func (cur *Cursor) use(fn func() error) error {
	if cur.tx != nil {
		return cur.db.gate.Explain(cur.ctx, cur.loan.InTx(cur.ctx, fn))
	}
	if err := cur.loan.Enter(); err != nil {
		return err
	}
	defer cur.loan.Leave()
	if cur.ctx.Err() != nil {
		return context.Cause(cur.ctx)
	}
	return cur.db.gate.Explain(cur.ctx, fn())
}

// Next decodes the next row, or returns false if there are no more.
func (cur *Cursor) Next(decode func(*sqlite.Stmt) error) (row bool, err error) {
	err = cur.use(func() error {
		if row, err = cur.st.Step(); err != nil || !row {
			return err
		}
		return decode(cur.st)
	})
	return row && err == nil, err
}

// End ends the query, and returns the connection if it is the cursor's own.
func (cur *Cursor) End() {
	if cur.loan.Enter() == nil {
		_ = cur.loan.Drop(&cur.kept)
		if cur.tx != nil && cur.tx.w != nil {
			cur.tx.w.Conn().After()
		}
		cur.loan.Leave()
	}
	if cur.tx == nil {
		cur.db.conns.readers.Put(cur.loan, errReadDone)
	}
}

// Close is called when the connection is no longer needed: by the cursor, or by the code
// that takes the connection away.
func (cur *Cursor) Close() error {
	cur.stop()
	cur.st.Release()
	return nil
}
