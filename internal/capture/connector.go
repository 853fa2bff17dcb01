package capture

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Connector opens captured connections for database/sql. It can take them all back
// even if the program still holds a sql.Conn, a transaction, prepared statements
// or rows.
type Connector struct {
	open     func() (*Conn, error)
	own      func() error
	mayWrite func(context.Context) error
	turn     sqlite.Turn
	lent     sqlite.Loans
}

var (
	_ driver.Connector = (*Connector)(nil)
	_ driver.Driver    = (*Connector)(nil)
)

// NewConnector returns a connector that opens its connections with open. own returns an
// error if its caller holds the write lock on another connection: a call that would wait
// for that lock fails with it instead of deadlocking. mayWrite is called if a commit would
// fail, or has failed, with ErrContested; it takes the database over. turn is the right to
// write, which a connection has while it has the write lock.
func NewConnector(open func() (*Conn, error), own func() error, mayWrite func(context.Context) error, turn sqlite.Turn) *Connector {
	return &Connector{open: open, own: own, mayWrite: mayWrite, turn: turn}
}

// Connect opens a connection.
func (k *Connector) Connect(context.Context) (driver.Conn, error) {
	s := new(session)
	err := k.lent.Lend(func() (_ *sqlite.Loan, err error) {
		if s.c, err = k.open(); err != nil {
			return nil, err
		}
		if err := s.c.Guard(k.guard()); err != nil {
			return nil, errors.Join(err, s.c.Close())
		}
		s.loan, s.lent, s.own, s.mayWrite = sqlite.NewLoan(s.c.Conn, s.takeBack), &k.lent, k.own, k.mayWrite
		return s.loan, nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// guard returns the turn as the connections have it, or nil.
func (k *Connector) guard() sqlite.Turn {
	if k.turn == nil {
		return nil
	}
	return openTurn{k.turn, &k.lent}
}

// openTurn is the turn until Shut: no statement begins to write after that, not even one that
// has waited.
type openTurn struct {
	sqlite.Turn
	lent *sqlite.Loans
}

func (t openTurn) shut() bool { return t.lent.Shutting() != nil }

func (t openTurn) Try() bool { return !t.shut() && t.Turn.Try() }

func (t openTurn) Wait(limit time.Duration, stopped func() bool) bool {
	if !t.Turn.Wait(limit, func() bool { return stopped() || t.shut() }) {
		return false
	}
	if t.shut() {
		t.Leave()
		return false
	}
	return true
}

// Driver returns the connector itself.
func (k *Connector) Driver() driver.Driver { return k }

// Open is for callers of Driver; it ignores the name.
func (k *Connector) Open(string) (driver.Conn, error) { return k.Connect(context.Background()) }

// OldestRead returns the age of the oldest read on a connection; see
// [sqlite.Loans.OldestRead].
func (k *Connector) OldestRead() time.Duration { return k.lent.OldestRead() }

// Shut ends all work on the connections except running statements. An open
// transaction can no longer be committed. Later calls fail with why.
func (k *Connector) Shut(why error) { k.lent.Shut(why) }

// Recall closes all connections, after Shut. Running statements may go on until
// deadline; then they are interrupted. Open transactions are rolled back, and so
// are statements that have written but whose rows were not read to the end.
func (k *Connector) Recall(deadline time.Time) error { return k.lent.Recall(deadline) }

// session is a connection in the hands of database/sql.
type session struct {
	c        *Conn
	loan     *sqlite.Loan
	lent     *sqlite.Loans
	own      func() error // see NewConnector
	mayWrite func(context.Context) error
	tx       txState
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

// takeBack closes the connection. It shuts the gate before it closes anything,
// because closing the rows of an INSERT ... RETURNING would commit it.
func (s *session) takeBack(why error, letGo func()) (told, failed error) {
	c := s.c
	told = why
	if !c.Autocommit() || lib.Xsqlite3_txn_state(c.TLS, c.DB, 0) == lib.SQLITE_TXN_WRITE {
		told = fmt.Errorf("%w; the transaction was rolled back", why)
	}
	c.r.gate.shut()
	letGo()
	c.rollback()
	failed = c.Close()
	if turn := c.Settle(); turn != nil {
		turn.Leave() // the database is being closed, so others' work is refused
	}
	return told, failed
}

// explain adds the reason given to Shut to the error of a statement that was
// interrupted to take back the connection.
func (s *session) explain(err error) error {
	if why := s.lent.Shutting(); why != nil && sqlite.Stopped(err) {
		return fmt.Errorf("%w: %w", why, err)
	}
	return err
}

// leave ends a use of the connection.
func (s *session) leave() {
	turn := s.c.Settle()
	s.loan.Leave()
	if turn != nil {
		turn.Leave()
	} else {
		s.c.GiveWay()
	}
}

// use runs fn, which may use the connection.
func (s *session) use(fn func() error) error {
	if err := s.loan.Enter(); err != nil {
		return err
	}
	defer s.leave()
	own := s.own()
	if own == nil {
		return s.explain(fn())
	}
	var err error
	s.c.Impatiently(func() { err = fn() })
	if sqlite.IsBusy(err) {
		err = fmt.Errorf("%w: %w", own, err)
	}
	return s.explain(err)
}

// uncontested runs fn, which executes query, and takes the database over if necessary.
// If query begins a transaction, it does so before. For any other statement it does so
// only if the commit fails as contested, and then runs fn again: the failed statement has
// left nothing behind, and one that changes nothing is never contested.
func (s *session) uncontested(ctx context.Context, query string, fn func() error) error {
	if s.tx.open {
		return s.use(fn)
	}
	if s.c.r.shared.Contested() && begins(query) {
		if err := s.mayWrite(ctx); err != nil {
			return err
		}
	}
	err := s.use(fn)
	if !errors.Is(err, ErrContested) {
		return err
	}
	if err := s.mayWrite(ctx); err != nil {
		return err
	}
	return s.use(fn)
}

// begins reports whether a statement begins a transaction.
func begins(query string) bool {
	switch words(query, 1)[0] {
	case "BEGIN", "SAVEPOINT":
		return true
	}
	return false
}

// settleRows is called before a query that may write. It takes the database over first if
// that is necessary, since such a query commits only when its rows have been read.
func (s *session) settleRows(ctx context.Context, query string) error {
	if s.tx.open || !s.c.r.shared.Contested() || !writesRows(query) {
		return nil
	}
	changes := false
	if err := s.use(func() error { changes = writes(s.c.Conn, query); return nil }); err != nil || !changes {
		return err
	}
	return s.mayWrite(ctx)
}

func (s *session) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (res driver.Result, err error) {
	err = s.uncontested(ctx, query, func() error {
		if err = s.mayRun(query); err != nil {
			return err
		}
		res, err = s.c.ExecContext(ctx, query, args)
		return s.ran(query, err)
	})
	return res, err
}

func (s *session) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (rows driver.Rows, err error) {
	if err := s.settleRows(ctx, query); err != nil {
		return nil, err
	}
	err = s.use(func() error {
		if err = s.mayRun(query); err != nil {
			return err
		}
		rows, err = s.rows(s.c.QueryContext(ctx, query, args))
		return s.ran(query, err)
	})
	return rows, err
}

// PrepareContext compiles a statement.
func (s *session) PrepareContext(ctx context.Context, query string) (st driver.Stmt, err error) {
	err = s.use(func() error {
		inner, err := s.c.PrepareContext(ctx, query)
		if err != nil {
			return err
		}
		p := &prepared{inner: inner.(*statement), s: s}
		s.loan.Keep(&p.kept, inner)
		st = p
		return nil
	})
	return st, err
}

// BeginTx starts a transaction.
func (s *session) BeginTx(ctx context.Context, opts driver.TxOptions) (tx driver.Tx, err error) {
	if s.c.r.shared.Contested() && !opts.ReadOnly {
		if err := s.mayWrite(ctx); err != nil {
			return nil, err
		}
	}
	err = s.use(func() error {
		inner, err := s.c.BeginTx(ctx, opts)
		tx, s.tx = lentTx{inner, s}, txState{begun: err == nil, open: err == nil}
		s.c.Admit(err == nil)
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

// Prepare is PrepareContext with a background context.
func (s *session) Prepare(query string) (driver.Stmt, error) {
	return s.PrepareContext(context.Background(), query)
}

// ResetSession is called before each new use of a pooled connection.
func (s *session) ResetSession(ctx context.Context) (err error) {
	if s.loan.Enter() != nil {
		return driver.ErrBadConn
	}
	defer s.leave()
	s.tx = txState{open: !s.c.Autocommit()}
	s.c.Admit(false)
	return s.c.ResetSession(ctx)
}

// IsValid reports whether the connection may be used again.
func (s *session) IsValid() bool {
	if s.loan.Enter() != nil {
		return false
	}
	defer s.leave()
	return s.c.IsValid()
}

// Ping checks the connection.
func (s *session) Ping(ctx context.Context) error {
	return s.use(func() error { return s.c.Ping(ctx) })
}

// Close closes the connection, unless it has been taken back.
func (s *session) Close() (err error) {
	var turn sqlite.Turn
	s.loan.Return(driver.ErrBadConn, func() { err, turn = s.c.Close(), s.c.Settle() })
	if turn != nil {
		turn.Leave()
	}
	return err
}
