package sqlite_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// newPool counts what it opens.
func newPool(t *testing.T, limit, keep int) (*sqlite.Pool, *atomic.Int32) {
	t.Helper()
	path := newFile(t)
	var opened atomic.Int32
	return sqlite.NewPool(limit, keep, func() (*sqlite.Conn, error) {
		opened.Add(1)
		return sqlite.Open(path, sqlite.Options{})
	}), &opened
}

func get(t *testing.T, p *sqlite.Pool) *sqlite.Loan {
	t.Helper()
	l, err := p.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closePool(t *testing.T, p *sqlite.Pool) {
	t.Helper()
	p.Shut(errGone)
	if err := p.Close(time.Now()); err != nil {
		t.Error(err)
	}
}

// TestAfterReads: the function is called after each read, when its connection can be used again.
func TestAfterReads(t *testing.T) {
	p, _ := newPool(t, 1, 1)
	defer closePool(t, p)
	calls := 0
	p.AfterReads(func() {
		if calls++; len(p.IdleConns()) != 1 {
			t.Error("the connection is still lent")
		}
	})
	read(t, p, countRows)
	p.Put(get(t, p), errGone)
	if calls != 2 {
		t.Errorf("called %d times", calls)
	}
}

// TestPoolIdle: a connection is closed when it was idle for a minute, and not before;
// and no timer outlives the pool, or synctest would say so.
func TestPoolIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, opened := newPool(t, 0, 4)
		a, b := get(t, p), get(t, p)
		p.Put(a, errGone)
		time.Sleep(30 * time.Second)
		p.Put(b, errGone)
		closed := func(want ...bool) {
			t.Helper()
			synctest.Wait()
			for i, l := range []*sqlite.Loan{a, b} {
				if l.Conn.Closed() != want[i] {
					t.Errorf("connection %d is closed: %v", i, !want[i])
				}
			}
		}
		time.Sleep(29 * time.Second)
		closed(false, false)
		time.Sleep(2 * time.Second)
		closed(true, false)
		c := get(t, p)
		if c.Conn != b.Conn {
			t.Error("the one that is open was not lent")
		}
		time.Sleep(time.Hour)
		closed(true, false)
		p.Put(c, errGone)
		time.Sleep(59 * time.Second)
		closed(true, false)
		time.Sleep(2 * time.Second)
		closed(true, true)
		d := get(t, p)
		p.Put(d, errGone)
		if n := opened.Load(); n != 3 {
			t.Errorf("%d were opened", n)
		}
		closePool(t, p)
		if !d.Conn.Closed() {
			t.Error("an idle connection is open after Close")
		}
	})
}

// TestPoolLimit: who comes when all are lent waits for one, for its context, or for
// the end of the pool.
func TestPoolLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, opened := newPool(t, 2, 4)
		a, b := get(t, p), get(t, p)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Get(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that ends: %v", err)
		}

		got := make(chan error, 2)
		wait := func() {
			l, err := p.Get(t.Context())
			if err == nil {
				p.Put(l, errGone)
			}
			got <- err
		}
		go wait()
		synctest.Wait()
		select {
		case err := <-got:
			t.Fatalf("a third was lent: %v", err)
		default:
		}
		p.Put(a, errGone)
		if err := <-got; err != nil {
			t.Error(err)
		}
		if n := opened.Load(); n != 2 {
			t.Errorf("%d were opened", n)
		}

		c := get(t, p)
		go wait()
		synctest.Wait()
		p.Shut(errGone)
		if err := <-got; !errors.Is(err, errGone) {
			t.Errorf("when the pool ends: %v", err)
		}
		closePool(t, p)
		for _, l := range []*sqlite.Loan{b, c} {
			p.Put(l, errGone) // they were taken back
		}
	})
}

// TestPoolCannotOpen: what could not be opened does not count as lent.
func TestPoolCannotOpen(t *testing.T) {
	p := sqlite.NewPool(1, 1, func() (*sqlite.Conn, error) { return nil, errGone })
	for range 3 {
		if _, err := p.Get(t.Context()); !errors.Is(err, errGone) {
			t.Fatal(err)
		}
	}
}
