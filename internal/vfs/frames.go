package vfs

import (
	"encoding/binary"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"github.com/driftdb/driftdb-go/internal/vfs/layer"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// The WAL's format, and the lock that writers take (sqlite.org/walformat.html).
const (
	walHeader   = 32
	frameHeader = 24
	commitField = 4 // in a frame's header: not 0 in the last frame of a commit
	minPage     = 512
	maxPage     = 65536
	writeLock   = 0
)

// capacity is what SQLite's VFS for Unix writes in one call at most.
const capacity = 128<<10 - 1

// frames are those of a WAL that one connection has joined and not written yet. They are
// there only while it has the write lock. When it gives the lock up, what is left was not
// committed, and must not be written: others may have written there since.
type frames struct {
	wal    layer.File // while it is open
	expect expected

	buf   uintptr // capacity bytes of C memory, or none yet
	n     int32   // bytes in it
	start int64   // where they belong

	last   int64 // where the frames of this transaction end, written or not; 0 if there is none yet
	failed int32 // the result of the write that failed
}

// expected is what SQLite writes next, if it goes on as usual: at the end of the frames.
type expected int32

const (
	nothing    expected = iota // to be joined, until the write lock is taken again
	header                     // of a frame
	page                       // the frame's
	commitPage                 // the page of the last frame of a commit
)

// begin is called when the write lock is there.
func (fr *frames) begin() { fr.expect = header }

// end is called when it goes.
func (fr *frames) end() {
	fr.expect, fr.n, fr.last, fr.failed = nothing, 0, 0, lib.SQLITE_OK
}

// next says whether a write is what was expected, which is joined, and whether it
// completes a commit.
func (fr *frames) next(buf uintptr, n int32, offset int64) (commits, joins bool) {
	if fr.failed != lib.SQLITE_OK || fr.last != 0 && fr.last != offset {
		return false, false
	}
	switch fr.expect {
	case header:
		if n != frameHeader {
			return false, false
		}
		fr.expect = page
		if binary.BigEndian.Uint32(cmem.Bytes(buf, frameHeader)[commitField:]) != 0 {
			fr.expect = commitPage
		}
		return false, true
	case page, commitPage:
		if n < minPage || n > maxPage || n&(n-1) != 0 {
			return false, false
		}
		commits = fr.expect == commitPage
		fr.expect = header
		return commits, true
	}
	return false, false
}

// passed is called after a write that was not joined. If it is the header of the WAL, the
// frames begin anew behind it. If it changes what the transaction has written (a frame
// that is overwritten, a savepoint that is rolled back, a checksum), the transaction goes
// on at the end of that sooner or later. Anything else is no order that is known here.
func (fr *frames) passed(n int32, offset int64, ok bool) {
	switch {
	case ok && fr.expect == header && offset == 0 && n == walHeader:
		fr.last = walHeader
	case ok && fr.expect == header && offset+int64(n) <= fr.last:
	default:
		fr.expect = nothing
	}
}

// add puts a write that joins behind the others; there is room. Without memory it does not.
func (fr *frames) add(tls *libc.TLS, buf uintptr, n int32, offset int64) bool {
	if fr.buf == 0 {
		if fr.buf = libc.Xmalloc(tls, capacity); fr.buf == 0 {
			return false
		}
	}
	if fr.n == 0 {
		fr.start = offset
	}
	copy(cmem.Bytes(fr.buf+uintptr(fr.n), int(n)), cmem.Bytes(buf, int(n)))
	fr.n += n
	fr.last = offset + int64(n)
	return true
}

// has says whether some of these bytes of the file are among those that are not written.
func (fr *frames) has(n int32, offset int64) bool {
	return fr.n != 0 && offset < fr.start+int64(fr.n) && offset+int64(n) > fr.start
}

// free gives back what fr has.
func (fr *frames) free(tls *libc.TLS) {
	libc.Xfree(tls, fr.buf)
	fr.buf, fr.wal = 0, 0
}
