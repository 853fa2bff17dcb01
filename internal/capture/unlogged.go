package capture

import "github.com/driftdb/driftdb-go/internal/sqlite"

// unlogged watches the commits that have no entry. One that changed pages of main is one
// of which the log says nothing: no row event came, and no statement of the schema was
// run. Its barrier is in that commit where it can be told before, and right behind it
// otherwise: see After.
type unlogged struct {
	c         *sqlite.Conn
	unsettled bool // a commit passed by without us
	wrote     bool // it changed pages of main, maybe only those of counters
	certain   bool // it changed others for certain: the next entry is a barrier
}

// pagesTable is the virtual table through which a program may write pages.
const pagesTable = "sqlite_dbpage"

// unloggedPages is the reason of its barrier.
const unloggedPages = "pages of the database were written without a change that the log can describe"

// writesPages looks for sqlite_dbpage among the virtual tables that the transaction
// writes: that fires no hook, and other changes of the transaction may have entries.
func (u *unlogged) writesPages() bool { return u.c.JoinedOf(pagesTable) }

// passed notes that a commit without an entry goes by. If it changed pages of main, a
// counter of AUTOINCREMENT may be all that it moved, which After finds out. That does
// not touch the first page, unless sqlite_sequence grows, nor sqlite_dbpage.
func (u *unlogged) passed() {
	u.unsettled = true
	if u.c.WritesMain() {
		u.wrote = true
		u.certain = u.certain || u.c.WritesHeader() || u.writesPages()
	}
}

// ignoring calls fn, whose commits are ours and move no counter.
func (u *unlogged) ignoring(fn func()) {
	was := u.unsettled
	fn()
	u.unsettled = was
}

// pending says that something is to be settled. Whoever does so takes it, and postpones
// what has failed: the next statement's end tries again.
func (u *unlogged) pending() bool { return u.unsettled }
func (u *unlogged) take()         { u.unsettled = false }
func (u *unlogged) postpone()     { u.unsettled = true }

// settle says whether there is a barrier to write, now that it is known whether counters
// have moved: they are what was written, then.
func (u *unlogged) settle(moved bool) (barrier bool) {
	u.certain = u.certain || u.wrote && !moved
	u.wrote = false
	return u.certain
}

// due says that the next entry has to be a barrier, and answered that one was committed.
func (u *unlogged) due() bool { return u.certain }
func (u *unlogged) answered() { u.certain = false }
