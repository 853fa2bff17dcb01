package sqlite

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// interruptEvery is how often a connection is interrupted that has to be given
// back: an interrupt stops one statement, and a script has many.
const interruptEvery = 5 * time.Millisecond

// Loan is a connection in the hands of somebody whose own code runs between its
// statements: database/sql, the function of a transaction, a loop over rows. It
// can be taken back at any moment but during a statement, and whoever goes on
// using it is told why.
//
// A use of the connection stands between Enter and Leave. What stays open from
// one use to the next, such as a statement with more rows, is kept: it is closed
// before anybody else gets the connection.
type Loan struct {
	Conn *Conn

	mu   sync.Mutex                // held during a use, and by whoever ends the loan
	over error                     // the loan has ended: what later uses are told
	kept *Kept                     // newest first
	read atomic.Pointer[time.Time] // when the read began that is open, or the use that may be one
	take func(why error, letGo func()) (told, failed error)

	from       *Loans // nil: it is a single one
	prev, next *Loan
}

// NewLoan lends c by itself. take is called when c is taken back, when nobody
// uses it: it calls letGo, which closes what is kept, sees to c, and returns what
// the borrower is told, and what went wrong.
func NewLoan(c *Conn, take func(why error, letGo func()) (told, failed error)) *Loan {
	return &Loan{Conn: c, take: take}
}

// Enter begins a use of the connection, or says why there is none any more.
func (l *Loan) Enter() error {
	l.mu.Lock()
	if l.over == nil && l.from != nil {
		if why := l.from.why.Load(); why != nil {
			l.from.failed(l.end(*why)) // whoever comes first, the lender or the borrower
		}
	}
	if err := l.over; err != nil {
		l.mu.Unlock()
		return err
	}
	if l.read.Load() == nil {
		now := time.Now()
		l.read.Store(&now)
	}
	return nil
}

// Leave ends a use. Every read begins and ends in a use, so this is where it is
// known whether one stays open.
func (l *Loan) Leave() {
	if !l.Conn.reads() {
		l.read.Store(nil)
	}
	l.mu.Unlock()
}

// Return ends the loan from the borrower's side. Later uses are told why. last is
// the last use. It returns false when the connection has been taken back before.
func (l *Loan) Return(why error, last func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over != nil {
		return false
	}
	l.letGo()
	l.over = why
	last()
	if l.from != nil {
		l.from.remove(l)
	}
	return true
}

// Recall takes the connection back. A statement that runs may go on until
// deadline, and is interrupted then. It returns false when the loan has ended
// before.
func (l *Loan) Recall(why error, deadline time.Time) (taken bool, failed error) {
	l.seize(deadline)
	defer l.mu.Unlock()
	if l.over != nil {
		return false, nil
	}
	return true, l.end(why)
}

// seize locks l.mu.
func (l *Loan) seize(deadline time.Time) {
	if l.mu.TryLock() {
		return
	}
	locked := make(chan struct{})
	var interrupter sync.WaitGroup
	interrupter.Go(func() {
		wait := time.NewTimer(time.Until(deadline))
		defer wait.Stop()
		for {
			select {
			case <-locked:
				return
			case <-wait.C:
				l.Conn.Interrupt()
				wait.Reset(interruptEvery)
			}
		}
	})
	l.mu.Lock()
	close(locked)
	interrupter.Wait()
}

// end takes the connection back; the caller holds l.mu.
func (l *Loan) end(why error) (failed error) {
	if l.take != nil {
		l.over, failed = l.take(why, l.letGo)
	} else {
		l.letGo()
		l.over, failed = why, l.Conn.Close()
	}
	if l.from != nil {
		l.from.remove(l)
	}
	return failed
}

// Kept is something that stays open between two uses of a connection. Its zero
// value is ready to be given to Keep.
type Kept struct {
	what       io.Closer
	prev, next *Kept
}

// Keep notes that what is open. It is called during a use.
func (l *Loan) Keep(k *Kept, what io.Closer) {
	*k = Kept{what: what, next: l.kept}
	if k.next != nil {
		k.next.prev = k
	}
	l.kept = k
}

// Drop closes what is kept. It is called during a use, and a second time does
// nothing.
func (l *Loan) Drop(k *Kept) error {
	what := k.what
	if what == nil {
		return nil
	}
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		l.kept = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	}
	*k = Kept{}
	return what.Close()
}

// letGo closes all that is kept, the newest first: rows before their statement.
func (l *Loan) letGo() {
	for l.kept != nil {
		_ = l.Drop(l.kept) // its statement's error was told when it ran
	}
}

// Loans are the connections that one lender has lent. Its zero value is ready.
type Loans struct {
	why     atomic.Pointer[error] // nothing is lent any more, and no use begins
	opening sync.WaitGroup        // connections that are being opened to be lent

	mu     sync.Mutex // never held while waiting for a loan's
	newest *Loan
	errs   []error // of connections that were taken back
}

// Lend lends the connection that open makes, as what it returns.
func (ls *Loans) Lend(open func() (*Loan, error)) error {
	if err := ls.begin(); err != nil {
		return err
	}
	defer ls.opening.Done()
	l, err := open()
	if err != nil {
		return err
	}
	ls.mu.Lock()
	ls.add(l)
	ls.mu.Unlock()
	return nil
}

// begin announces a connection. The caller calls opening.Done when it is lent.
func (ls *Loans) begin() error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if why := ls.why.Load(); why != nil {
		return *why
	}
	ls.opening.Add(1)
	return nil
}

// add notes a loan; the caller holds ls.mu.
func (ls *Loans) add(l *Loan) {
	l.from, l.next = ls, ls.newest
	if l.next != nil {
		l.next.prev = l
	}
	ls.newest = l
}

func (ls *Loans) remove(l *Loan) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.prev != nil {
		l.prev.next = l.next
	} else {
		ls.newest = l.next
	}
	if l.next != nil {
		l.next.prev = l.prev
	}
	l.prev, l.next = nil, nil
}

func (ls *Loans) failed(err error) {
	if err != nil {
		ls.mu.Lock()
		ls.errs = append(ls.errs, err)
		ls.mu.Unlock()
	}
}

// OldestRead is for how long the oldest read has been open that a borrower has: a
// statement that runs, rows that are not closed, a transaction that has read. A
// transaction that has written is none.
func (ls *Loans) OldestRead() (age time.Duration) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for l := ls.newest; l != nil; l = l.next {
		if began := l.read.Load(); began != nil {
			age = max(age, time.Since(*began))
		}
	}
	return age
}

// Shut ends the lending: nothing is lent any more, and no use of what is lent
// begins. Whoever tries is told why. It returns false when it had been called before.
func (ls *Loans) Shut(why error) (first bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.why.CompareAndSwap(nil, &why)
}

// Shutting is the reason given to Shut, or nil.
func (ls *Loans) Shutting() error {
	if why := ls.why.Load(); why != nil {
		return *why
	}
	return nil
}

// Recall takes back all that is lent, after Shut. Statements that run may go on
// until deadline, and are interrupted then, all of them at once: one may be
// waiting for another's lock.
func (ls *Loans) Recall(deadline time.Time) error {
	ls.opening.Wait()
	why := *ls.why.Load()
	var all sync.WaitGroup
	ls.mu.Lock()
	for l := ls.newest; l != nil; l = l.next {
		all.Go(func() {
			_, err := l.Recall(why, deadline)
			ls.failed(err)
		})
	}
	ls.mu.Unlock()
	all.Wait()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	err := errors.Join(ls.errs...)
	ls.errs = nil
	return err
}

// ErrTxLost says that a transaction is over already.
var ErrTxLost = errors.New("the transaction has been rolled back already, by SQLite after an earlier error or by a statement in it")

// InTx runs fn, which uses the connection, unless the loan has ended, or the transaction
// for which it was made, or ctx.
func (l *Loan) InTx(ctx context.Context, fn func() error) error {
	if err := l.Enter(); err != nil {
		return err
	}
	defer l.Leave()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.Conn.Autocommit() {
		return ErrTxLost // or what follows would be committed one by one
	}
	return fn()
}
