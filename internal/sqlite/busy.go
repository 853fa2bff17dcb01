package sqlite

import (
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/vfs"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// busyDelays are SQLite's own: the milliseconds to wait before the next attempt to get a lock.
// The last one repeats.
var busyDelays = [...]int32{1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100}

// waitInterruptibly gives c a busy handler that behaves like SQLite's own but ends when c is
// interrupted: SQLite's own waits for a lock until its timeout, even if the caller has given
// up.
func (c *Conn) waitInterruptibly() {
	shown := busyTimeout(c.DB)
	timeout := *shown
	if timeout <= 0 {
		return
	}
	lib.Xsqlite3_busy_handler(c.TLS, c.DB, CFunc(busy), c.DB)
	*shown = timeout // keeps PRAGMA busy_timeout right
}

// busy is called when a wanted lock is taken; n counts its earlier calls for the same lock. It
// returns 0 to give up.
func busy(tls *libc.TLS, db uintptr, n int32) int32 {
	if lib.Xsqlite3_is_interrupted(tls, db) != 0 {
		return 0
	}
	if g, ok := guards.Load(db); ok {
		if mine, again := g.(*guard).wait(tls, db, n); mine {
			return libc.Bool32(again)
		}
	}
	last := int32(len(busyDelays) - 1)
	waited := max(n-last, 0) * busyDelays[last]
	for _, ms := range busyDelays[:min(n, last)] {
		waited += ms
	}
	delay := min(busyDelays[min(n, last)], *busyTimeout(db)-waited)
	if delay <= 0 {
		return 0
	}
	time.Sleep(time.Duration(delay) * time.Millisecond)
	return 1
}

// Impatiently calls fn, during which c waits for no lock and gets SQLITE_BUSY at once.
func (c *Conn) Impatiently(fn func()) {
	now := busyTimeout(c.DB)
	timeout := *now
	*now = 0 // busy reads it
	defer func() {
		if *now == 0 { // fn has not set another timeout
			*now = timeout
		}
	}()
	fn()
}

// Turn is the right to take the write lock, which the connections of a process share.
type Turn interface {
	// Try takes the turn if it is free.
	Try() bool
	// Wait waits for the turn until limit has passed or stopped returns true.
	Wait(limit time.Duration, stopped func() bool) bool
	// Leave gives up the turn.
	Leave()
	// GiveWay lets those run that have waited for the turn, if they do not get to.
	GiveWay()
}

// guard makes a connection take its turn before it takes the write lock. Only the
// connection's user uses it.
type guard struct {
	turn  Turn
	holds bool
	began time.Time // when it began to wait for the turn
}

var guards sync.Map // sqlite3* -> *guard

// Guard makes c take the turn, if it is not nil, before it takes the write lock. c's user must
// call Settle after each use, and after Close, and then leave the turn or call GiveWay.
func (c *Conn) Guard(turn Turn) error {
	if turn == nil {
		return nil
	}
	g := &guard{turn: turn}
	if err := vfs.Guard(c.TLS, c.DB, g.may); err != nil {
		return err
	}
	c.guard = g
	guards.Store(c.DB, g)
	return nil
}

// may is called before c takes the write lock.
func (g *guard) may() bool {
	if !g.holds {
		g.holds = g.turn.Try()
	}
	return g.holds
}

// wait is called by the busy handler. It waits for the turn if that is what c lacks.
func (g *guard) wait(tls *libc.TLS, db uintptr, n int32) (mine, again bool) {
	if g.holds {
		return false, false // another process has the lock
	}
	if n == 0 {
		g.began = time.Now()
	}
	left := time.Duration(*busyTimeout(db))*time.Millisecond - time.Since(g.began)
	if left > 0 {
		g.holds = g.turn.Wait(left, func() bool { return lib.Xsqlite3_is_interrupted(tls, db) != 0 })
	}
	return true, g.holds
}

// Settle returns the turn if c has it and is in no transaction that writes, and otherwise nil.
// The caller must leave the turn, once it holds no lock of its own: whoever leaves does the work
// of others.
func (c *Conn) Settle() Turn {
	g := c.guard
	if g == nil || !g.holds || !c.closed && lib.Xsqlite3_txn_state(c.TLS, c.DB, 0) == lib.SQLITE_TXN_WRITE {
		return nil
	}
	g.holds = false
	return g.turn
}

// GiveWay is called after each use, without a lock, unless Settle returned the turn.
func (c *Conn) GiveWay() {
	if g := c.guard; g != nil && !g.holds {
		g.turn.GiveWay()
	}
}
