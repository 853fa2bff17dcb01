// Package pagecache is SQLite's page cache: the connections of a database share one
// budget of memory.
//
// SQLite's own cache, as the driver builds it, has one lock for the process, counts
// each connection by itself, and asks an allocator of powers of two for a little more
// than a page: twice the memory. Here pages lie side by side in slabs, and a cache
// that is closed gives them back slab by slab.
//
// SQLite takes another page cache only before it is used, so the package does that in
// its init. It must import neither the driver nor what imports it: Go initializes what
// is ready in the order of the import paths, and so this package before the driver,
// whose importers may use SQLite when they are initialized. Caches of connections that
// are not DriftDB's obey PRAGMA cache_size, as SQLite's own do.
package pagecache

import (
	"sync"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"
)

// registry has what SQLite's callbacks have to find: SQLite has one page cache for the
// process.
var registry = struct {
	mu     sync.Mutex
	caches map[*cache]bool // and keeps them alive: SQLite has only the address
	arenas map[[2]int32]*arena
	owners map[*libc.TLS]*Budget
}{caches: map[*cache]bool{}, arenas: map[[2]int32]*arena{}, owners: map[*libc.TLS]*Budget{}}

func init() {
	tls := libc.NewTLS()
	defer tls.Close()
	methods := libc.Xcalloc(tls, 1, types.Size_t(cmem.Size[lib.Tsqlite3_pcache_methods2]()))
	args := libc.Xcalloc(tls, 1, 8)
	if methods == 0 || args == 0 {
		return
	}
	defer libc.Xfree(tls, methods) // SQLite copies it
	defer libc.Xfree(tls, args)
	// SQLite's own page cache is begun and ended as ever: the pager takes its buffers from
	// it, and it has the mutex under which SQLite counts them.
	if lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_GETPCACHE2, libc.VaList(args, methods)) != lib.SQLITE_OK {
		return
	}
	own := *cmem.At[lib.Tsqlite3_pcache_methods2](methods)
	*cmem.At[lib.Tsqlite3_pcache_methods2](methods) = lib.Tsqlite3_pcache_methods2{
		FiVersion:   1,
		FpArg:       own.FpArg,
		FxInit:      own.FxInit,
		FxShutdown:  own.FxShutdown,
		FxCreate:    cmem.CFunc(xCreate),
		FxCachesize: cmem.CFunc(xCachesize),
		FxPagecount: cmem.CFunc(xPagecount),
		FxFetch:     cmem.CFunc(xFetch),
		FxUnpin:     cmem.CFunc(xUnpin),
		FxRekey:     cmem.CFunc(xRekey),
		FxTruncate:  cmem.CFunc(xTruncate),
		FxDestroy:   cmem.CFunc(xDestroy),
		FxShrink:    cmem.CFunc(xShrink),
	}
	// Should SQLite refuse, it goes on with its own cache; Adopt says so.
	lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_PCACHE2, libc.VaList(args, methods))
}

// Adopt makes the budget that of all caches of a connection: those it has, and those
// it will have for temporary tables and attached files. It is called while nothing
// runs on the connection. It returns false when SQLite uses another page cache, because
// the program has configured one.
func (b *Budget) Adopt(tls *libc.TLS) (ours bool) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	registry.owners[tls] = b
	for c := range registry.caches {
		if c.tls != tls {
			continue
		}
		ours = true
		if c.purgeable {
			c.budget.leave(c)
			b.join(c)
		}
	}
	return ours
}

// Forget is called when a connection that was adopted has been closed.
func Forget(tls *libc.TLS) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	delete(registry.owners, tls)
}

// tableBytes is what the table that finds a page has for each: two buckets, and as much
// again that Go has not collected.
const tableBytes = 32

// bytes is what a page takes, with its part of its slab's head and of the table.
func (c *cache) bytes() int64 {
	return int64(c.arena.size+allocatorHead)/int64(c.arena.perSlab) + tableBytes
}

func xCreate(tls *libc.TLS, page, extra, purgeable int32) uintptr {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	a := registry.arenas[[2]int32{page, extra}]
	if a == nil {
		a = newArena(uintptr(page), uintptr(extra))
		registry.arenas[[2]int32{page, extra}] = a
	}
	c := newCache(tls, a, purgeable != 0)
	registry.caches[c] = true
	b := registry.owners[tls]
	if b == nil || !c.purgeable {
		b = &c.own
	}
	b.join(c)
	return cmem.Address(c)
}

func xCachesize(tls *libc.TLS, p uintptr, pages int32) {
	if c := cmem.At[cache](p); c.purgeable && c.budget == &c.own {
		c.budget.resize(tls, int64(pages)*c.bytes())
	}
}

func xPagecount(_ *libc.TLS, p uintptr) int32 {
	all, _ := cmem.At[cache](p).count()
	return int32(all)
}

func xFetch(tls *libc.TLS, p uintptr, key uint32, create int32) uintptr {
	c := cmem.At[cache](p)
	s := c.find(key)
	if s != 0 || create == 0 {
		return s
	}
	if s = c.budget.take(tls, c, create == 1); s != 0 {
		c.add(s, key)
	}
	return s
}

func xUnpin(tls *libc.TLS, p, s uintptr, discard int32) {
	c := cmem.At[cache](p)
	if discard == 0 && !c.budget.over() {
		c.unpin(s, c.budget.clock.Load())
		return
	}
	c.remove(s)
	c.budget.give(tls, c, s, 1)
}

func xRekey(tls *libc.TLS, p, s uintptr, _, key uint32) {
	c := cmem.At[cache](p)
	if other := c.rekey(s, key); other != 0 {
		c.budget.give(tls, c, other, 1)
	}
}

func xTruncate(tls *libc.TLS, p uintptr, limit uint32) {
	c := cmem.At[cache](p)
	s, n := c.truncate(limit)
	c.budget.give(tls, c, s, n)
}

func xDestroy(tls *libc.TLS, p uintptr) {
	c := cmem.At[cache](p)
	c.budget.leave(c)
	s, _ := c.truncate(0)
	c.arena.put(tls, s)
	registry.mu.Lock()
	delete(registry.caches, c)
	registry.mu.Unlock()
	c.recycle()
}

func xShrink(tls *libc.TLS, p uintptr) {
	c := cmem.At[cache](p)
	for s := c.evict(); s != 0; s = c.evict() {
		c.budget.give(tls, c, s, 1)
	}
}
