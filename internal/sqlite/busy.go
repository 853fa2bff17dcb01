package sqlite

import (
	"time"

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
