// Package pagecache is a page cache for SQLite in which the connections of a database share
// one memory budget.
//
// SQLite's own cache, as the driver builds it, has one lock for the whole process, counts each
// connection separately, and asks a power-of-two allocator for slightly more than a page,
// which takes twice the memory. Here pages lie side by side in slabs, and a closed cache gives
// them back slab by slab.
//
// SQLite accepts another page cache only before its first use, so the package installs it in
// its init. It must import neither the driver nor anything that imports the driver. Go
// initializes packages that are ready in the order of their import paths, so it initializes
// this package before the driver, whose importers may use SQLite in their own init. Caches of
// connections that are not DriftDB's obey PRAGMA cache_size, as SQLite's own do.
package pagecache

import (
	"sync"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"
)

// registry holds what SQLite's callbacks must find: SQLite has one page cache per process.
var registry = struct {
	mu     sync.Mutex
	caches map[*cache]bool // also keeps them alive: SQLite has only their addresses
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
	defer libc.Xfree(tls, methods) // SQLite copies the methods
	defer libc.Xfree(tls, args)
	// SQLite's own page cache is still initialized and shut down: the pager takes its buffers
	// from it, and it has the mutex under which SQLite counts them.
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
	// If SQLite refuses, it goes on with its own cache, and Adopt returns false.
	lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_PCACHE2, libc.VaList(args, methods))
}

// Adopt makes b the budget of all caches of a connection, including later ones for temporary
// tables and attached files. It is called while nothing runs on the connection. It returns
// false if SQLite uses another page cache, because the program has configured one.
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

// Forget is called when an adopted connection has been closed.
func Forget(tls *libc.TLS) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	delete(registry.owners, tls)
}

// tableBytes is what the hash table takes for each page: two buckets, and as much again that
// Go has not collected yet.
const tableBytes = 32

// bytes is the memory that a page takes, with its share of its slab's header and of the hash
// table.
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
