package sqlite

import (
	"sync/atomic"
	"time"

	lib "modernc.org/sqlite/lib"
)

// A small write makes six system calls for locks, four of them for the snapshot in which it
// begins. So the connection that writes keeps its snapshot, too, in the terms of its pool. A
// transaction that stayed open would hold its commits back. A statement that has returned its
// first row and is not reset keeps the snapshot across commits, and each of them moves it on.
//
// While that statement is open, an interrupt stays pending, and SQLite does not wait for the
// write lock of another process, because that process may have made the snapshot an old one.
// Done is for both.

// Keeper keeps the snapshot of a connection that writes small transactions one after the
// other. Its methods are for whoever may use the connection, Over excepted.
type Keeper struct {
	c    *Conn
	p    *Pool
	open *Stmt // keeps the snapshot when its first row has been read

	kept  atomic.Uint64 // the number of the term in which the snapshot was taken, plus 1; 0: there is none
	began int64         // the moment of the last Begin
}

// Keep makes the terms of the pool those of c, which writes. Expired is called after the end of
// each term, on any goroutine; it should call End, unless somebody uses c. Keep is called once,
// before the pool is used.
func (p *Pool) Keep(c *Conn, expired func()) (*Keeper, error) {
	open, err := c.Cached("PRAGMA user_version") // reads nothing but the first page; Close finalizes it
	if err != nil {
		return nil, err
	}
	p.keeper, p.expired = &Keeper{c: c, p: p, open: open, began: Moment() - int64(termLength)}, expired
	return p.keeper, nil
}

// Begin is called before a statement that writes and commits by itself. It keeps a snapshot if
// the last such statement was less than a term ago.
func (k *Keeper) Begin() {
	last := k.began
	k.began = Moment()
	if k.kept.Load() != 0 {
		if !k.c.interrupted() && k.c.newest() {
			return
		}
		k.End()
	}
	now := k.p.term.number.Load()
	if time.Duration(k.began-last) >= termLength || !k.c.mayKeep(&k.p.term, now) || !k.p.lapses() {
		return
	}
	if row, err := k.open.Step(); err == nil && row {
		k.kept.Store(now + 1)
	}
}

// Done is called after that statement, which returned err. It reports whether the statement
// failed only because of the snapshot, and can be run again.
func (k *Keeper) Done(err error) (again bool) {
	if k.kept.Load() == 0 || err == nil && !k.c.interrupted() {
		return false
	}
	k.End()
	return IsBusy(err)
}

// End gives up the snapshot, if there is one.
func (k *Keeper) End() {
	if k.kept.Load() != 0 {
		k.kept.Store(0)
		k.open.Reset()
	}
}

// Over reports whether there is a snapshot whose term has ended.
func (k *Keeper) Over() bool {
	kept := k.kept.Load()
	return kept != 0 && kept != k.p.term.number.Load()+1
}

// interrupted reports whether an interrupt is pending.
func (c *Conn) interrupted() bool {
	return lib.Xsqlite3_is_interrupted(c.TLS, c.DB) != 0
}
