package capture

// A commit that changed pages of main and has no entry is one of which the log says
// nothing: no row event came, and no statement of the schema was run. Its barrier is
// in that commit where it can be told before, and right behind it otherwise: see After.

// pagesTable is the virtual table through which a program may write pages.
const pagesTable = "sqlite_dbpage"

// unloggedPages is the reason of its barrier.
const unloggedPages = "pages of the database were written without a change that the log can describe"

// joinPages puts a barrier into a transaction that writes pages through sqlite_dbpage:
// that fires no hook, and other changes of the transaction may have entries.
func (r *recorder) joinPages() {
	if r.barriers > 0 || !r.writesPages() {
		return
	}
	r.begin()
	if r.barriers == 0 {
		r.barrier(unloggedPages)
	}
}

// writesPages looks for sqlite_dbpage among the virtual tables that the transaction writes.
func (r *recorder) writesPages() bool { return r.c.JoinedOf(pagesTable) }

// passed notes that a commit without an entry goes by. If it changed pages of main, a
// counter of AUTOINCREMENT may be all that it moved, which After finds out. That does
// not touch the first page, unless sqlite_sequence grows, nor sqlite_dbpage.
func (r *recorder) passed() {
	r.unsettled = true
	if r.c.WritesMain() {
		r.wrote = true
		r.unlogged = r.unlogged || r.c.WritesHeader() || r.writesPages()
	}
}
