package sqlite

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	lib "modernc.org/sqlite/lib"
)

// The header of the WAL-index (sqlite.org/walformat.html, section 2.1) says
// what was committed last: a counter that every commit raises, whoever makes
// it, and the running checksum of the WAL's frames. A connection has a copy of
// its own, which is that of its transaction, and sees the one that all
// processes share.

// commit is what the header says of the last commit.
type commit struct {
	count uint32 // of commits since the index was made; goes round
	sum   uint64 // the WAL's running checksum up to the commit's end
}

func commitOf(h *lib.TWalIndexHdr) commit {
	return commit{h.FiChange, walSum(h.FaFrameCksum).number()}
}

func (c *Conn) shared() *lib.TBtShared {
	main := cmem.At[lib.TBtree](cmem.At[lib.TDb](c.handle().FaDb).FpBt)
	return cmem.At[lib.TBtShared](main.FpBt)
}

// PageCount is how many pages main has within c's transaction.
func (c *Conn) PageCount() int64 { return int64(c.shared().FnPage) }

func (c *Conn) pager() *lib.TPager { return cmem.At[lib.TPager](c.shared().FpPager) }

// wal is main's WAL, or nil if it has none or has not been read yet.
func (c *Conn) wal() *lib.TWal {
	p := c.pager().FpWal
	if p == 0 {
		return nil
	}
	w := cmem.At[lib.TWal](p)
	if w.FnWiData == 0 || *cmem.At[uintptr](w.FapWiData) == 0 {
		return nil
	}
	return w
}

// shared views the header that all processes share. Only under the write lock
// does it stand still.
func shared(w *lib.TWal) *lib.TWalIndexHdr {
	return cmem.At[lib.TWalIndexHdr](*cmem.At[uintptr](w.FapWiData))
}

// familiar says, under the write lock and before c writes, that the header is the one that
// is known here: its layout has the version for it, and the connection's copy, which is in
// SQLite's own struct, is what all processes share.
func familiar(w *lib.TWal) bool {
	h := shared(w)
	return h.FiVersion == walVersion && *h == w.Fhdr
}

// holds says whether the WAL holds any commit.
func holds(w *lib.TWal) bool { return shared(w).FmxFrame > 0 }

// mine is the last commit in the connection's own copy of the header.
func mine(w *lib.TWal) commit { return commitOf(&w.Fhdr) }

// peek reads the shared header without a lock: from its two copies, which
// differ while somebody writes them.
func peek(w *lib.TWal) (last commit, ok bool) {
	first, second := sharedCopies(w)
	a, b := *first, *second
	return commitOf(&a), a == b
}

// sharedCopies are the two copies of the header that all processes share.
func sharedCopies(w *lib.TWal) (first, second *lib.TWalIndexHdr) {
	p := *cmem.At[uintptr](w.FapWiData)
	return cmem.At[lib.TWalIndexHdr](p), cmem.At[lib.TWalIndexHdr](p + cmem.Size[lib.TWalIndexHdr]())
}

// newest says that the transaction that c reads in is in the state that was committed
// last. Whoever is committing has not returned when the header's two copies differ; and
// if both are read before they change, the commit comes after this call.
func (c *Conn) newest() bool {
	w := c.wal()
	if w == nil || w.FreadLock < 0 {
		return false
	}
	first, second := sharedCopies(w)
	return *first == w.Fhdr && *second == w.Fhdr
}

// keepable says that newest can go by the header for all that c reads: the database is in
// WAL mode, its WAL-index is shared, and no other one is attached, of which SQLite would
// keep a state as well.
func (c *Conn) keepable() bool {
	w := c.wal()
	return w != nil && w.FbShmUnreliable == 0 && w.FexclusiveMode == lib.WAL_NORMAL_MODE &&
		w.FpDbFd == c.pager().Ffd && c.handle().FnDb == mainAndTemp
}

const mainAndTemp = 2

// mainFile is the sqlite3_file* of a database that is keepable.
func (c *Conn) mainFile() uintptr { return c.wal().FpDbFd }

// WritesMain says whether the commit that is under way has pages of main's to
// write into the WAL. What PRAGMA journal_mode writes on its way to or from
// another mode goes past it.
func (c *Conn) WritesMain() bool { return c.pager().FpWal != 0 && c.changed() }

// changed says that the transaction has changed pages of main.
func (c *Conn) changed() bool { return c.pager().FeState >= lib.PAGER_WRITER_CACHEMOD }

// WritesHeader says whether the first page is among them: it has the file's settings
// and the list of its free pages.
func (c *Conn) WritesHeader() bool {
	first := c.shared().FpPage1
	if first == 0 {
		return false
	}
	page := cmem.At[lib.TMemPage](first)
	return cmem.At[lib.TDbPage](page.FpDbPage).Fflags&lib.PGHDR_DIRTY != 0
}
