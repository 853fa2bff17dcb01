package capture

import "github.com/driftdb/driftdb-go/internal/sqlite"

// unlogged watches the commits that have no entry. If such a commit changed pages of main,
// the log misses a change: there was no row event and no schema statement. The barrier is
// in the same commit if the change can be recognized in time, and otherwise right after
// it: see After.
type unlogged struct {
	c         *sqlite.Conn
	unsettled bool // there was a commit without us that After has not dealt with
	wrote     bool // it changed pages of main, maybe only those of counters
	certain   bool // it certainly changed other pages: the next entry must be a barrier
}

// pagesTable is the virtual table through which a program may write pages.
const pagesTable = "sqlite_dbpage"

// unloggedPages is the reason of the barrier.
const unloggedPages = "pages of the database were written without a change that the log can describe"

// writesPages reports whether the transaction writes sqlite_dbpage. That fires no hook,
// even if other changes of the transaction have entries.
func (u *unlogged) writesPages() bool { return u.c.JoinedOf(pagesTable) }

// passed records a commit without an entry. If it changed pages of main, it may only have
// moved an AUTOINCREMENT counter, which After finds out. Moving a counter does not change
// the first page, unless sqlite_sequence grows, and does not use sqlite_dbpage.
func (u *unlogged) passed() {
	u.unsettled = true
	if u.c.WritesMain() {
		u.wrote = true
		u.certain = u.certain || u.c.WritesHeader() || u.writesPages()
	}
}

// ignoring calls fn, whose commits are our own and move no counters.
func (u *unlogged) ignoring(fn func()) {
	was := u.unsettled
	fn()
	u.unsettled = was
}

// pending reports whether there is a commit to settle. The caller calls take before it
// settles it, and postpone if that fails, so that the next After tries again.
func (u *unlogged) pending() bool { return u.unsettled }
func (u *unlogged) take()         { u.unsettled = false }
func (u *unlogged) postpone()     { u.unsettled = true }

// settle reports whether a barrier must be written. moved tells whether counters have
// moved; if so, they account for the written pages.
func (u *unlogged) settle(moved bool) (barrier bool) {
	u.certain = u.certain || u.wrote && !moved
	u.wrote = false
	return u.certain
}

// due reports whether the next entry must be a barrier; answered is called when one has been
// committed.
func (u *unlogged) due() bool { return u.certain }
func (u *unlogged) answered() { u.certain = false }
