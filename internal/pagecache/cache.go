package pagecache

import (
	"math"
	"sync"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
)

// cache holds the pages of one file on one connection. SQLite makes one call into it at a
// time; mu protects it from the budget's other caches, which may evict its unpinned pages.
type cache struct {
	tls       *libc.TLS // the connection's
	arena     *arena
	purgeable bool // false: an in-memory database, whose pages cannot be evicted
	budget    *Budget
	own       Budget // the budget of a connection without one: PRAGMA cache_size

	mu             sync.Mutex
	buckets        []uintptr // their number is a power of two
	n, unpinned    int
	highest        uint32 // at least the highest page number in the cache …
	second         uint32 // … and at least that of all pages but the one with that number
	oldest, newest uintptr
}

const (
	fewestBuckets = 64
	mostSpare     = 1024 // buckets that a reused cache may have
)

// spare holds caches that SQLite has destroyed. Many statements create a cache for a table
// that lives only as long as the statement.
var spare = sync.Pool{New: func() any { return &cache{buckets: make([]uintptr, fewestBuckets)} }}

func newCache(tls *libc.TLS, a *arena, purgeable bool) *cache {
	c := spare.Get().(*cache)
	c.tls, c.arena, c.purgeable = tls, a, purgeable
	c.own.limit.Store(math.MaxInt64)
	return c
}

// recycle keeps an empty cache that is no longer in use.
func (c *cache) recycle() {
	c.tls, c.arena, c.budget = nil, nil, nil
	c.highest, c.second = 0, 0 // of the last file
	if len(c.buckets) <= mostSpare {
		spare.Put(c)
	}
}

func (c *cache) bucket(key uint32) *uintptr { return &c.buckets[int(key)&(len(c.buckets)-1)] }

// find returns the page, pinned, or 0. It and unpin are called several times for a row, and
// do not defer their Unlock: that was a quarter of what find took.
func (c *cache) find(key uint32) uintptr {
	c.mu.Lock()
	s := *c.bucket(key)
	for s != 0 {
		h := cmem.At[slot](s)
		if h.key == key {
			if h.unpinned {
				c.pin(h)
			}
			break
		}
		s = h.chain
	}
	c.mu.Unlock()
	return s
}

// add puts s under key, pinned.
func (c *cache) add(s uintptr, key uint32) {
	h := cmem.At[slot](s)
	h.key, h.unpinned = key, false
	*cmem.At[uintptr](h.extra) = 0 // tells SQLite that the page is new
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; c.n > len(c.buckets) {
		c.grow()
	}
	c.file(s, h)
}

func (c *cache) file(s uintptr, h *slot) {
	b := c.bucket(h.key)
	h.chain, *b = *b, s
	if h.key > c.highest {
		c.highest, c.second = h.key, c.highest
	} else if h.key < c.highest {
		c.second = max(c.second, h.key)
	}
}

func (c *cache) grow() {
	old := c.buckets
	c.buckets = make([]uintptr, 2*len(old))
	for _, s := range old {
		for s != 0 {
			h := cmem.At[slot](s)
			next := h.chain
			c.file(s, h)
			s = next
		}
	}
}

// unfile removes s from its bucket.
func (c *cache) unfile(s uintptr, h *slot) {
	p := c.bucket(h.key)
	for *p != s {
		p = &cmem.At[slot](*p).chain
	}
	*p = h.chain
}

// unpin makes the page evictable.
func (c *cache) unpin(s uintptr, stamp uint64) {
	c.mu.Lock()
	if h := cmem.At[slot](s); !h.unpinned {
		h.unpinned, h.stamp = true, stamp
		if h.older, h.newer = c.newest, 0; h.older != 0 {
			cmem.At[slot](h.older).newer = s
		} else {
			c.oldest = s
		}
		c.newest = s
		c.unpinned++
	}
	c.mu.Unlock()
}

// pin removes the page from the evictable ones.
func (c *cache) pin(h *slot) {
	if h.older != 0 {
		cmem.At[slot](h.older).newer = h.newer
	} else {
		c.oldest = h.newer
	}
	if h.newer != 0 {
		cmem.At[slot](h.newer).older = h.older
	} else {
		c.newest = h.older
	}
	h.unpinned = false
	c.unpinned--
}

// remove removes the page from the cache.
func (c *cache) remove(s uintptr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(s, cmem.At[slot](s))
}

func (c *cache) forget(s uintptr, h *slot) {
	if h.unpinned {
		c.pin(h)
	}
	c.unfile(s, h)
	h.chain = 0
	c.n--
}

// evict removes the oldest unpinned page from the cache and returns it, or 0.
func (c *cache) evict() uintptr {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.oldest
	if s != 0 {
		c.forget(s, cmem.At[slot](s))
	}
	return s
}

// age is the stamp of the oldest unpinned page.
func (c *cache) age() (stamp uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.oldest == 0 {
		return 0, false
	}
	return cmem.At[slot](c.oldest).stamp, true
}

func (c *cache) count() (all, pinned int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n, c.n - c.unpinned
}

// rekey gives the page another number. If another page has that number already, rekey removes
// and returns it. When SQLite puts pages in order, it gives some of them a number far beyond the
// file's end for a moment: highest must not stay there, or the next truncate would search the
// whole cache.
func (c *cache) rekey(s uintptr, key uint32) (other uintptr) {
	if other = c.find(key); other == s {
		return 0
	} else if other != 0 {
		c.remove(other)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := cmem.At[slot](s)
	c.unfile(s, h)
	if h.key == c.highest {
		c.highest = c.second
	}
	h.key = key
	c.file(s, h)
	return other
}

// truncate removes all pages whose numbers are limit or higher, and returns them as a chain.
func (c *cache) truncate(limit uint32) (removed uintptr, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 || limit > c.highest {
		return 0, 0
	}
	buckets := len(c.buckets)
	if span := c.highest - limit; uint64(span) < uint64(buckets) {
		buckets = int(span) + 1 // only the buckets of the numbers from limit on
	}
	for i := range buckets {
		p := c.bucket(limit + uint32(i))
		for *p != 0 {
			s := *p
			h := cmem.At[slot](s)
			if h.key < limit {
				p = &h.chain
				continue
			}
			if h.unpinned {
				c.pin(h)
			}
			*p, h.chain, removed = h.chain, removed, s
			n++
		}
	}
	c.n -= n
	c.highest = max(limit, 1) - 1
	c.second = min(c.second, c.highest)
	return removed, n
}
