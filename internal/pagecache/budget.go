package pagecache

import (
	"slices"
	"sync"
	"sync/atomic"

	"modernc.org/libc"
)

// Budget is the memory that a group of caches may use together. The page evicted for another
// is the one that has gone unused for the longest time in any of them: a connection that reads
// alone gets nearly all of the memory, and an idle one gives up its pages.
//
// used exceeds limit only for pages that SQLite has pinned, which must not be evicted: those
// that a statement is reading, and those that a transaction has changed, which SQLite writes
// to the WAL early when there are many.
type Budget struct {
	limit, used atomic.Int64  // bytes; used changes under mu
	clock       atomic.Uint64 // counts cache misses

	mu     sync.Mutex // locked before a cache's mu
	caches []*cache
}

// New returns a budget of limit bytes.
func New(limit int64) *Budget {
	b := new(Budget)
	b.limit.Store(limit)
	return b
}

// Used is how many bytes the caches use.
func (b *Budget) Used() int64 { return b.used.Load() }

// over reports whether the caches use more than they may.
func (b *Budget) over() bool { return b.used.Load() > b.limit.Load() }

// join adds c to the budget's caches.
func (b *Budget) join(c *cache) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, _ := c.count()
	b.used.Add(int64(all) * c.bytes())
	b.caches = append(b.caches, c)
	c.budget = b
}

// leave removes c from the budget's caches: pages of c are no longer evicted for others.
func (b *Budget) leave(c *cache) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.caches = slices.DeleteFunc(b.caches, func(o *cache) bool { return o == c })
	all, _ := c.count()
	b.used.Add(-int64(all) * c.bytes())
}

// take returns a slot for c, new or evicted from a cache. It returns 0 if there is no memory
// or, with easy, if too many of c's pages are pinned or no page can be evicted. SQLite then
// writes some of the pages that c's transaction has changed, and asks again.
func (b *Budget) take(tls *libc.TLS, c *cache, easy bool) uintptr {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock.Add(1)
	size, limit := c.bytes(), b.limit.Load()
	if _, pinned := c.count(); easy && c.purgeable && int64(pinned)*size >= limit/4*3 {
		return 0
	}
	for b.used.Load()+size > limit {
		s, from := b.evict()
		if s == 0 && easy {
			return 0
		}
		if s == 0 {
			break
		}
		if from.arena == c.arena && b.used.Load() <= limit {
			return s
		}
		b.used.Add(-from.bytes())
		from.arena.put(tls, s)
	}
	s := c.arena.get(tls)
	if s != 0 {
		b.used.Add(size)
	}
	return s
}

// evict removes the page that has gone unused for the longest time from its cache. b.used
// still counts it.
func (b *Budget) evict() (s uintptr, from *cache) {
	for {
		var oldest uint64
		from = nil
		for _, c := range b.caches {
			if stamp, ok := c.age(); ok && (from == nil || stamp < oldest) {
				from, oldest = c, stamp
			}
		}
		if from == nil {
			return 0, nil
		}
		if s = from.evict(); s != 0 { // otherwise its owner took it first
			return s, from
		}
	}
}

// give takes back a chain of n slots of c.
func (b *Budget) give(tls *libc.TLS, c *cache, s uintptr, n int) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	b.used.Add(-int64(n) * c.bytes())
	b.mu.Unlock()
	c.arena.put(tls, s)
}

// resize sets the limit, and evicts pages beyond it.
func (b *Budget) resize(tls *libc.TLS, limit int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit.Store(limit)
	for b.over() {
		s, from := b.evict()
		if s == 0 {
			return
		}
		b.used.Add(-from.bytes())
		from.arena.put(tls, s)
	}
}
