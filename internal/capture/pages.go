package capture

import (
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// A commit that changed pages of main and has no entry is one of which the log says
// nothing: no row event came, and no statement of the schema was run. Its barrier is
// in that commit where it can be told before, and right behind it otherwise: see After.

// pagesTable is the virtual table through which a program may write pages.
const pagesTable = "sqlite_dbpage"

// unloggedPages is the reason of its barrier.
const unloggedPages = "pages of the database were written without a change that the log can describe"

// joinPages looks for sqlite_dbpage among the first n virtual tables of the transaction:
// what it writes fires no hook, and other changes of the transaction may have entries.
func (r *recorder) joinPages(n int32) {
	tables := sqlite.At[lib.Tsqlite3](r.c.DB).FaVTrans
	if tables == 0 || r.barriers > 0 {
		return
	}
	for i := range uintptr(n) {
		table := sqlite.At[lib.TVTable](*sqlite.At[uintptr](tables + i*8))
		if string(sqlite.CString(sqlite.At[lib.TModule](table.FpMod).FzName)) == pagesTable {
			r.begin()
			if r.barriers == 0 {
				r.barrier(unloggedPages)
			}
			return
		}
	}
}
