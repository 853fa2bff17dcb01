package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

var errGone = errors.New("gone")

// endless is a query that never ends by itself.
const endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n"

// closer notes that it was closed.
type closer func()

func (c closer) Close() error { c(); return nil }

// TestLoanRecall takes a connection back between two uses: what is kept is closed,
// the newest first, and whoever goes on using it is told why.
func TestLoanRecall(t *testing.T) {
	var closed []int
	c := newConn(t, newFile(t))
	l := sqlite.NewLoan(c, func(why error, letGo func()) (error, error) {
		letGo()
		return fmt.Errorf("%w at last", why), nil
	})
	if err := l.Enter(); err != nil {
		t.Fatal(err)
	}
	kept := make([]sqlite.Kept, 5)
	for i := range kept {
		l.Keep(&kept[i], closer(func() { closed = append(closed, i) }))
	}
	for _, i := range []int{2, 0, 2} {
		if err := l.Drop(&kept[i]); err != nil {
			t.Error(err)
		}
	}
	l.Leave()
	if taken, err := l.Recall(errGone, time.Now()); !taken || err != nil {
		t.Errorf("%v, %v", taken, err)
	}
	if want := []int{2, 0, 4, 3, 1}; !slices.Equal(closed, want) {
		t.Errorf("closed in the order %v, want %v", closed, want)
	}
	if err := l.Enter(); !errors.Is(err, errGone) || err.Error() != "gone at last" {
		t.Errorf("a use after it: %v", err)
	}
	if l.Return(nil, func() { t.Error("it is not the borrower's any more") }) {
		t.Error("returned after it was taken back")
	}
	if taken, _ := l.Recall(errGone, time.Now()); taken {
		t.Error("taken back twice")
	}
}

// TestLoanReturn: after the borrower has given it back there is nothing to take.
func TestLoanReturn(t *testing.T) {
	done := errors.New("done")
	l := sqlite.NewLoan(newConn(t, newFile(t)), nil)
	last := false
	if !l.Return(done, func() { last = true }) || !last {
		t.Error("not returned")
	}
	if taken, _ := l.Recall(errGone, time.Now()); taken {
		t.Error("taken back after it was returned")
	}
	if err := l.Enter(); err != done {
		t.Error(err)
	}
}

// TestLoanInterrupts: a statement may go on until the deadline, and then the
// whole script is stopped, statement by statement.
func TestLoanInterrupts(t *testing.T) {
	c := newConn(t, newFile(t))
	l := sqlite.NewLoan(c, func(why error, letGo func()) (error, error) { return why, nil })
	inside := make(chan bool)
	var stopped []error
	var borrower sync.WaitGroup
	borrower.Go(func() {
		if err := l.Enter(); err != nil {
			t.Error(err)
			return
		}
		defer l.Leave()
		close(inside)
		for range 3 {
			stopped = append(stopped, c.Exec(endless))
		}
	})
	<-inside
	began := time.Now()
	const grace = 50 * time.Millisecond
	if taken, err := l.Recall(errGone, began.Add(grace)); !taken || err != nil {
		t.Errorf("%v, %v", taken, err)
	}
	if took := time.Since(began); took < grace {
		t.Errorf("it was interrupted after %v", took)
	}
	borrower.Wait()
	for _, err := range stopped {
		if !sqlite.IsInterrupted(err) {
			t.Error(err)
		}
	}
}

// TestPoolClose closes what is idle, what is in use and what is just being opened.
func TestPoolClose(t *testing.T) {
	path := newFile(t)
	var opened []*sqlite.Conn
	opening, goOn := make(chan bool), make(chan bool)
	slow := false
	p := sqlite.NewPool(0, 4, func() (*sqlite.Conn, error) {
		if slow {
			close(opening)
			<-goOn
		}
		c, err := new(sqlite.Driver).Open(path, sqlite.Options{})
		opened = append(opened, c)
		return c, err
	})
	get := func() *sqlite.Loan {
		l, err := p.Get(t.Context())
		if err != nil {
			t.Error(err)
		}
		return l
	}
	used, idle := get(), get()
	p.Put(idle, errGone)
	again := get()
	if again.Conn != idle.Conn {
		t.Error("the idle connection was not used again")
	}
	if err := idle.Enter(); err != errGone {
		t.Errorf("a loan that has ended, of a connection that was lent again: %v", err)
	}

	slow = true
	var late sync.WaitGroup
	late.Go(func() {
		if l := get(); l.Enter() == nil {
			t.Error("what was opened meanwhile can be used")
		}
	})
	<-opening
	p.Put(again, errGone)
	p.Shut(errGone)
	closed := make(chan error)
	go func() { closed <- p.Close(time.Now()) }()
	select {
	case <-closed:
		t.Error("it did not wait for the connection that is being opened")
	case <-time.After(20 * time.Millisecond):
	}
	close(goOn)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	late.Wait()
	if err := used.Enter(); err != errGone {
		t.Error(err)
	}
	if _, err := p.Get(t.Context()); err != errGone {
		t.Error(err)
	}
	p.Put(used, nil)
	for i, c := range opened {
		if !c.Closed() {
			t.Errorf("connection %d of %d is open", i, len(opened))
		}
	}
}

// TestLoansRace: whoever borrows either has the connection or is told, whenever
// the lender shuts.
func TestLoansRace(t *testing.T) {
	path := newFile(t)
	for range 50 {
		p := sqlite.NewPool(0, 2, func() (*sqlite.Conn, error) { return new(sqlite.Driver).Open(path, sqlite.Options{}) })
		var all sync.WaitGroup
		started := make(chan bool, 100)
		for range 4 {
			all.Go(func() {
				for {
					l, err := p.Get(context.Background())
					if err != nil {
						return
					}
					if l.Enter() == nil {
						if _, err := l.Conn.Int("SELECT count(*) FROM t"); err != nil && !sqlite.IsInterrupted(err) {
							t.Error(err)
						}
						l.Leave()
					}
					select {
					case started <- true:
					default:
					}
					p.Put(l, nil)
				}
			})
		}
		<-started
		p.Shut(errGone)
		if err := p.Close(time.Now()); err != nil {
			t.Error(err)
		}
		all.Wait()
	}
}

// BenchmarkLoan is what a use of a lent connection costs more.
func BenchmarkLoan(b *testing.B) {
	l := sqlite.NewLoan(newConn(b, newFile(b)), nil)
	for b.Loop() {
		if err := l.Enter(); err != nil {
			b.Fatal(err)
		}
		l.Leave()
	}
}
