package sqlite

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	lib "modernc.org/sqlite/lib"
)

// The header of the WAL-index (sqlite.org/walformat.html, section 2.1) describes the last
// commit: a counter that every commit increments, whoever makes it, and the running checksum
// of the WAL's frames. A connection has its own copy of the header, as of its transaction, and
// sees the one that all processes share.

// commit is the header's description of the last commit.
type commit struct {
	count uint32 // commits since the index was created; wraps around
	sum   uint64 // the WAL's running checksum up to the commit's end
}

func commitOf(h *lib.TWalIndexHdr) commit {
	return commit{h.FiChange, walSum(h.FaFrameCksum).number()}
}

func (c *Conn) shared() *lib.TBtShared {
	main := cmem.At[lib.TBtree](cmem.At[lib.TDb](c.handle().FaDb).FpBt)
	return cmem.At[lib.TBtShared](main.FpBt)
}

// PageCount is main's number of pages within c's transaction.
func (c *Conn) PageCount() int64 { return int64(c.shared().FnPage) }

func (c *Conn) pager() *lib.TPager { return cmem.At[lib.TPager](c.shared().FpPager) }

// wal returns main's WAL, or nil if it has none or has not been read yet.
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

// shared views the header that all processes share. It is stable only under the write lock.
func shared(w *lib.TWal) *lib.TWalIndexHdr {
	return cmem.At[lib.TWalIndexHdr](*cmem.At[uintptr](w.FapWiData))
}

// familiar reports whether the header has the layout that this code knows: its version is the
// expected one, and the connection's copy, in SQLite's own struct, equals what all processes
// share. c holds the write lock and has written nothing.
func familiar(w *lib.TWal) bool {
	h := shared(w)
	return h.FiVersion == walVersion && *h == w.Fhdr
}

// holds reports whether the WAL holds any commit.
func holds(w *lib.TWal) bool { return shared(w).FmxFrame > 0 }

// mine is the last commit in the connection's own copy of the header.
func mine(w *lib.TWal) commit { return commitOf(&w.Fhdr) }

// peek reads the shared header without a lock, from its two copies, which differ while a
// process writes them.
func peek(w *lib.TWal) (last commit, ok bool) {
	first, second := sharedCopies(w)
	a, b := *first, *second
	return commitOf(&a), a == b
}

// sharedCopies returns the two copies of the header that all processes share.
func sharedCopies(w *lib.TWal) (first, second *lib.TWalIndexHdr) {
	p := *cmem.At[uintptr](w.FapWiData)
	return cmem.At[lib.TWalIndexHdr](p), cmem.At[lib.TWalIndexHdr](p + cmem.Size[lib.TWalIndexHdr]())
}

// newest reports whether the transaction that c reads in sees the last commit. A commit whose
// header copies still differ has not returned yet; and if both copies are read before they
// change, the commit comes after this call.
func (c *Conn) newest() bool {
	w := c.wal()
	if w == nil || w.FreadLock < 0 {
		return false
	}
	first, second := sharedCopies(w)
	return *first == w.Fhdr && *second == w.Fhdr
}

// keepable reports whether the header covers everything that c reads, so that newest can rely
// on it: the database is in WAL mode, its WAL-index is shared, and no other database is
// attached, because SQLite would keep a snapshot of that one as well.
func (c *Conn) keepable() bool {
	w := c.wal()
	return w != nil && w.FbShmUnreliable == 0 && w.FexclusiveMode == lib.WAL_NORMAL_MODE &&
		w.FpDbFd == c.pager().Ffd && c.handle().FnDb == mainAndTemp
}

const mainAndTemp = 2

// mainFile is the sqlite3_file* of a keepable database.
func (c *Conn) mainFile() uintptr { return c.wal().FpDbFd }

// WritesMain reports whether the commit in progress has pages of main to write to the WAL.
// What PRAGMA journal_mode writes on its way to or from another mode does not go there.
func (c *Conn) WritesMain() bool { return c.pager().FpWal != 0 && c.changed() }

// changed reports whether the transaction has changed pages of main.
func (c *Conn) changed() bool { return c.pager().FeState >= lib.PAGER_WRITER_CACHEMOD }

// WritesHeader reports whether the first page is among the changed ones. It holds the file's
// settings and the list of its free pages.
func (c *Conn) WritesHeader() bool {
	first := c.shared().FpPage1
	if first == 0 {
		return false
	}
	page := cmem.At[lib.TMemPage](first)
	return cmem.At[lib.TDbPage](page.FpDbPage).Fflags&lib.PGHDR_DIRTY != 0
}
