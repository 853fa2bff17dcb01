package sqlite

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// interruptEvery is how often a connection that must be given back is interrupted: an
// interrupt stops only one statement, and a script has many.
const interruptEvery = 5 * time.Millisecond

// Loan is a connection lent to a borrower whose own code runs between its statements:
// database/sql, the function of a transaction, a loop over rows. The lender can take it back
// at any moment except during a statement; a borrower that goes on using it gets the reason.
//
// Every use of the connection runs between Enter and Leave. Whatever stays open from one use
// to the next, such as a statement with more rows, is registered with Keep: it is closed
// before the connection goes to another borrower.
type Loan struct {
	Conn *Conn

	mu   sync.Mutex   // held during a use, and while the loan is ended
	over error        // why the loan has ended: the error of later uses
	kept *Kept        // newest first
	read atomic.Int64 // moment at which the open read began, or the use that may be one; 0: none
	take func(why error, letGo func()) (told, failed error)

	from       *Loans // nil: lent by NewLoan
	prev, next *Loan
}

// NewLoan lends c on its own. take is called when c is taken back, while no use of it runs. It
// calls letGo, which closes what is kept, disposes of c, and returns the error that the
// borrower gets and any failure.
func NewLoan(c *Conn, take func(why error, letGo func()) (told, failed error)) *Loan {
	return &Loan{Conn: c, take: take}
}

var start = time.Now()

// Moment is the monotonic clock's reading in nanoseconds, never 0. It takes half as long as
// time.Now.
func Moment() int64 {
	if m := int64(time.Since(start)); m != 0 {
		return m
	}
	return 1
}

// Enter begins a use of the connection. If the loan has ended, it returns the reason.
func (l *Loan) Enter() error {
	l.mu.Lock()
	if l.over == nil && l.from != nil {
		if why := l.from.why.Load(); why != nil {
			l.from.failed(l.end(*why)) // the first to notice ends it, lender or borrower
		}
	}
	if err := l.over; err != nil {
		l.mu.Unlock()
		return err
	}
	if l.read.Load() == 0 {
		l.read.Store(Moment())
	}
	return nil
}

// Leave ends a use. Every read begins and ends within a use, so Leave is where it is known
// whether one stays open.
func (l *Loan) Leave() {
	if !l.Conn.reads() {
		l.read.Store(0)
	}
	l.mu.Unlock()
}

// Return ends the loan from the borrower's side. last runs as the last use; later uses fail
// with why. It returns false if the connection has already been taken back.
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

// Recall takes the connection back. A running statement may go on until deadline, and is then
// interrupted. It returns false if the loan had already ended.
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

// end takes the connection back. The caller holds l.mu.
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

// Kept is something that stays open between two uses of a connection. The zero value is ready
// to be passed to Keep.
type Kept struct {
	what       io.Closer
	prev, next *Kept
}

// Keep registers what as open. It is called during a use.
func (l *Loan) Keep(k *Kept, what io.Closer) {
	*k = Kept{what: what, next: l.kept}
	if k.next != nil {
		k.next.prev = k
	}
	l.kept = k
}

// Drop closes what is kept. It is called during a use; a second call does nothing.
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

// letGo closes everything that is kept, newest first: rows before their statement.
func (l *Loan) letGo() {
	for l.kept != nil {
		_ = l.Drop(l.kept) // its statement reported its error when it ran
	}
}

// Loans are the connections that one lender has lent. The zero value is ready to use.
type Loans struct {
	why     atomic.Pointer[error] // if set: lending has ended, and no use begins
	opening sync.WaitGroup        // connections that are being opened to be lent

	mu     sync.Mutex // never held while waiting for a Loan's mu
	newest *Loan
	errs   []error // of connections that were taken back
}

// Lend lends the connection that open makes, as the Loan that open returns.
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

// begin announces a connection. The caller calls opening.Done once it is lent.
func (ls *Loans) begin() error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if why := ls.why.Load(); why != nil {
		return *why
	}
	ls.opening.Add(1)
	return nil
}

// add registers a loan. The caller holds ls.mu.
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

// OldestRead is the age of the oldest read that a borrower has open: a running statement, rows
// that are not closed, or a transaction that has read. A transaction that has written does not
// count.
func (ls *Loans) OldestRead() (age time.Duration) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for l := ls.newest; l != nil; l = l.next {
		if began := l.read.Load(); began != 0 {
			age = max(age, time.Duration(Moment()-began))
		}
	}
	return age
}

// Shut ends the lending: nothing more is lent, and no new use of a lent connection begins;
// each attempt gets why. It returns false if Shut had been called before.
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

// Recall takes back all lent connections, after Shut. Running statements may go on until
// deadline and are then all interrupted at once, because one may be waiting for another's
// lock.
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

// ErrTxLost means that a transaction is already over.
var ErrTxLost = errors.New("the transaction has been rolled back already, by SQLite after an earlier error or by a statement in it")

// InTx runs fn, which uses the connection, unless the loan, the transaction that it was made
// for, or ctx has ended.
func (l *Loan) InTx(ctx context.Context, fn func() error) error {
	if err := l.Enter(); err != nil {
		return err
	}
	defer l.Leave()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.Conn.Autocommit() {
		return ErrTxLost // otherwise the statements that follow would be committed one by one
	}
	return fn()
}
