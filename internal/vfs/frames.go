package vfs

import (
	"encoding/binary"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"github.com/driftdb/driftdb-go/internal/vfs/layer"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// This is the WAL's format, and the lock that writers take (sqlite.org/walformat.html).
const (
	walHeader   = 32
	frameHeader = 24
	commitField = 4 // in a frame's header: not 0 in the last frame of a commit
	minPage     = 512
	maxPage     = 65536
	writeLock   = 0
)

// capacity is the most that SQLite's VFS for Unix writes in one call.
const capacity = 128<<10 - 1

// frames are the WAL frames that one connection has joined and not written yet. They exist
// only while it holds the write lock. When it releases the lock, the rest was not committed
// and must not be written: another connection may have written there since.
type frames struct {
	wal    layer.File // the WAL, while it is open
	expect expected

	buf   uintptr // capacity bytes of C memory, or 0 before the first use
	n     int32   // bytes in it
	start int64   // their offset in the file

	last   int64 // end of this transaction's frames, written or not; 0 if there is none yet
	failed int32 // the result of the write that failed

	guarded int32 // 1 if the file has a guard
}

// expected is what SQLite writes next, at the end of the frames, if it goes on as usual.
type expected int32

const (
	nothing    expected = iota // join nothing until the write lock is taken again
	header                     // a frame's header
	page                       // the frame's page
	commitPage                 // the page of the last frame of a commit
)

// begin is called when the write lock is taken.
func (fr *frames) begin() { fr.expect = header }

// end is called when the write lock is released.
func (fr *frames) end() {
	fr.expect, fr.n, fr.last, fr.failed = nothing, 0, 0, lib.SQLITE_OK
}

// next reports whether a write is the expected one, which is joined, and whether it completes
// a commit.
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
// frames start over behind it. If it changes what the transaction has already written (an
// overwritten frame, a savepoint that is rolled back, a checksum), the transaction sooner or
// later goes on at the end of its frames. Any other write is out of the order known here, and
// joining stops.
func (fr *frames) passed(n int32, offset int64, ok bool) {
	switch {
	case ok && fr.expect == header && offset == 0 && n == walHeader:
		fr.last = walHeader
	case ok && fr.expect == header && offset+int64(n) <= fr.last:
	default:
		fr.expect = nothing
	}
}

// add appends a joined write to the others; there is room for it. It returns false if there is
// no memory.
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

// has reports whether some of these bytes of the file are not written yet.
func (fr *frames) has(n int32, offset int64) bool {
	return fr.n != 0 && offset < fr.start+int64(fr.n) && offset+int64(n) > fr.start
}

// free frees fr's memory.
func (fr *frames) free(tls *libc.TLS) {
	libc.Xfree(tls, fr.buf)
	fr.buf, fr.wal = 0, 0
}
