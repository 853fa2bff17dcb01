package pagecache

import (
	"math"
	"sync"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
)

// cache has the pages of one file on one connection. SQLite calls it for one thing at
// a time; mu is against other caches of the budget, which may evict what is unpinned.
type cache struct {
	tls       *libc.TLS // the connection's
	arena     *arena
	purgeable bool // false: a database in memory, of which nothing can be evicted
	budget    *Budget
	own       Budget // the budget when nobody gives it one: what PRAGMA cache_size says

	mu             sync.Mutex
	buckets        []uintptr // a power of two of them
	n, unpinned    int
	highest        uint32 // no page has a higher number
	oldest, newest uintptr
}

const (
	fewestBuckets = 64
	mostSpare     = 1024 // buckets of a cache that is used again
)

// spare are caches that SQLite has destroyed. Many a statement makes one for a table
// that lives as long as the statement.
var spare = sync.Pool{New: func() any { return &cache{buckets: make([]uintptr, fewestBuckets)} }}

func newCache(tls *libc.TLS, a *arena, purgeable bool) *cache {
	c := spare.Get().(*cache)
	c.tls, c.arena, c.purgeable = tls, a, purgeable
	c.own.limit.Store(math.MaxInt64)
	return c
}

// recycle keeps an empty cache that nobody knows any more.
func (c *cache) recycle() {
	c.tls, c.arena, c.budget = nil, nil, nil
	if len(c.buckets) <= mostSpare {
		spare.Put(c)
	}
}

func (c *cache) bucket(key uint32) *uintptr { return &c.buckets[int(key)&(len(c.buckets)-1)] }

// find returns the page, pinned, or 0.
func (c *cache) find(key uint32) uintptr {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := *c.bucket(key); s != 0; {
		h := cmem.At[slot](s)
		if h.key == key {
			if h.unpinned {
				c.pin(h)
			}
			return s
		}
		s = h.chain
	}
	return 0
}

// add files s under key, pinned.
func (c *cache) add(s uintptr, key uint32) {
	h := cmem.At[slot](s)
	h.key, h.unpinned = key, false
	*cmem.At[uintptr](h.extra) = 0 // so SQLite knows that it is new
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
	c.highest = max(c.highest, h.key)
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

// unfile takes s out of its bucket.
func (c *cache) unfile(s uintptr, h *slot) {
	p := c.bucket(h.key)
	for *p != s {
		p = &cmem.At[slot](*p).chain
	}
	*p = h.chain
}

// unpin makes the page one that may be evicted.
func (c *cache) unpin(s uintptr, stamp uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := cmem.At[slot](s)
	if h.unpinned {
		return
	}
	h.unpinned, h.stamp = true, stamp
	if h.older, h.newer = c.newest, 0; h.older != 0 {
		cmem.At[slot](h.older).newer = s
	} else {
		c.oldest = s
	}
	c.newest = s
	c.unpinned++
}

// pin takes the page out of what may be evicted.
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

// remove takes the page out of the cache.
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

// evict takes the oldest unpinned page out of the cache, and returns it, or 0.
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

// rekey gives the page another number. A page that has it already is taken out, and
// returned.
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
	h.key = key
	c.file(s, h)
	return other
}

// truncate takes all pages out whose numbers are not below limit, and returns them as
// a chain.
func (c *cache) truncate(limit uint32) (removed uintptr, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 || limit > c.highest {
		return 0, 0
	}
	buckets := len(c.buckets)
	if span := c.highest - limit; uint64(span) < uint64(buckets) {
		buckets = int(span) + 1 // only those of the numbers from limit on
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
	return removed, n
}
