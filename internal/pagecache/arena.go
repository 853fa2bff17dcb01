package pagecache

import (
	"sync"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	"modernc.org/libc/sys/types"
)

const (
	smallestSlab = 256 << 10
	fewestSlots  = 15 // in a slab, so that at most a fifteenth of it is wasted
	// allocatorHead is more than libc's allocator puts before each allocation. With it a slab
	// fills one mapping; a slab of a full power of two would take twice as much.
	allocatorHead = 64
)

// slot is the header of a cached page, in C memory. SQLite's page comes before it, and
// SQLite's own data about the page follows.
type slot struct {
	buf, extra   uintptr // sqlite3_pcache_page: SQLite reads these two
	key          uint32  // the page's number
	unpinned     bool    // whether it is in the list of evictable pages
	stamp        uint64  // the budget's clock when it was unpinned
	chain        uintptr // the next slot in the bucket, the free list, or the chain being freed
	older, newer uintptr // in the list of evictable pages
	slab         uintptr
}

// slab is the header of C memory for many slots, which follow it.
type slab struct {
	prev, next uintptr // the arena's other slabs with a free slot
	free       uintptr // freed slots
	used       int     // slots in use
	carved     int     // slots ever used: the memory after them has not been touched
}

// arena allocates slots of one size. A slab with no slot in use is freed at once.
type arena struct {
	page, slot uintptr // bytes of a page, and of a whole slot
	size       uintptr // bytes of a slab
	perSlab    int

	mu    sync.Mutex
	slabs uintptr // slabs with a free slot
}

func newArena(page, extra uintptr) *arena {
	a := &arena{page: page, slot: align(page + cmem.Size[slot]() + extra), size: smallestSlab}
	for a.size < fewestSlots*a.slot {
		a.size *= 2
	}
	a.size -= allocatorHead
	a.perSlab = int((a.size - align(cmem.Size[slab]())) / a.slot)
	return a
}

func align(n uintptr) uintptr { return (n + 15) &^ 15 }

// get returns a slot, or 0 if there is no memory.
func (a *arena) get(tls *libc.TLS) uintptr {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.slabs == 0 {
		p := libc.Xmalloc(tls, types.Size_t(a.size))
		if p == 0 {
			return 0
		}
		*cmem.At[slab](p) = slab{}
		a.link(p)
	}
	p := a.slabs
	sl := cmem.At[slab](p)
	s := sl.free
	if s != 0 {
		sl.free = cmem.At[slot](s).chain
	} else {
		page := p + align(cmem.Size[slab]()) + uintptr(sl.carved)*a.slot
		s = page + a.page
		*cmem.At[slot](s) = slot{buf: page, extra: s + cmem.Size[slot](), slab: p}
		sl.carved++
	}
	if sl.used++; sl.used == a.perSlab {
		a.unlink(p)
	}
	return s
}

// put takes back the chain of slots that starts at s.
func (a *arena) put(tls *libc.TLS, s uintptr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s != 0 {
		next := cmem.At[slot](s).chain
		p := cmem.At[slot](s).slab
		sl := cmem.At[slab](p)
		cmem.At[slot](s).chain = sl.free
		sl.free = s
		if sl.used == a.perSlab {
			a.link(p)
		}
		if sl.used--; sl.used == 0 {
			a.unlink(p)
			libc.Xfree(tls, p)
		}
		s = next
	}
}

func (a *arena) link(p uintptr) {
	sl := cmem.At[slab](p)
	if sl.prev, sl.next = 0, a.slabs; sl.next != 0 {
		cmem.At[slab](sl.next).prev = p
	}
	a.slabs = p
}

func (a *arena) unlink(p uintptr) {
	sl := cmem.At[slab](p)
	if sl.prev != 0 {
		cmem.At[slab](sl.prev).next = sl.next
	} else {
		a.slabs = sl.next
	}
	if sl.next != 0 {
		cmem.At[slab](sl.next).prev = sl.prev
	}
}
