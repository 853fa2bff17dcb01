package pagecache

import (
	"slices"
	"sync"
	"sync/atomic"

	"modernc.org/libc"
)

// Budget is how much memory some caches may use together. The page that is evicted
// for another is the one that none of them has used for the longest time: a
// connection that reads alone has nearly all of it, and one that is idle gives its
// pages up.
//
// used is never above limit but for pages that SQLite has pinned, which nobody may
// evict: those a statement reads at the moment, and those a transaction has changed,
// which SQLite writes to the WAL early when there are many.
type Budget struct {
	limit, used atomic.Int64  // bytes; used changes under mu
	clock       atomic.Uint64 // counts the pages that were asked for in vain

	mu     sync.Mutex // before a cache's
	caches []*cache
}

// New returns a budget of so many bytes.
func New(limit int64) *Budget {
	b := new(Budget)
	b.limit.Store(limit)
	return b
}

// Used is how many bytes the caches use.
func (b *Budget) Used() int64 { return b.used.Load() }

// over says that the caches use more than they may.
func (b *Budget) over() bool { return b.used.Load() > b.limit.Load() }

// join makes c one of the budget's caches.
func (b *Budget) join(c *cache) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, _ := c.count()
	b.used.Add(int64(all) * c.bytes())
	b.caches = append(b.caches, c)
	c.budget = b
}

// leave ends that: nobody evicts pages of c any more.
func (b *Budget) leave(c *cache) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.caches = slices.DeleteFunc(b.caches, func(o *cache) bool { return o == c })
	all, _ := c.count()
	b.used.Add(-int64(all) * c.bytes())
}

// take returns a slot for c, a new one or another page's, or 0: there is no memory, or
// the easy ways have come to an end. SQLite then writes some of what c's transaction
// has changed, and asks again.
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

// evict takes the page out of its cache that was not used for the longest time.
// b.used still counts it.
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
		if s = from.evict(); s != 0 { // else its owner was faster
			return s, from
		}
	}
}

// give takes back a chain of n slots that were c's.
func (b *Budget) give(tls *libc.TLS, c *cache, s uintptr, n int) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	b.used.Add(-int64(n) * c.bytes())
	b.mu.Unlock()
	c.arena.put(tls, s)
}

// resize sets the limit, and evicts what is above it.
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
