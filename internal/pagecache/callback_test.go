package pagecache

import (
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
)

var seed = flag.Uint64("seed", 0, "of the random calls; default: another one each time")

// model is a cache as SQLite uses it, and what it must be.
type model struct {
	p      uintptr
	pinned map[uint32]uintptr
	wrote  map[uint32]uint64 // what is in the pages that the cache may have
}

const modelPage, modelExtra = 512, 64

// TestCallbacks calls several caches of one budget at random, and compares with a
// model: a page that is there is the page that was written, what is pinned stays, and
// the budget is kept but for what is pinned.
func TestCallbacks(t *testing.T) {
	for range 20 {
		s := *seed
		if s == 0 {
			s = rand.Uint64()
		}
		if !callAtRandom(t, rand.New(rand.NewPCG(s, 0))) {
			t.Fatalf("seed %d", s)
		}
	}
}

func callAtRandom(t *testing.T, r *rand.Rand) bool {
	tls := libc.NewTLS()
	defer tls.Close()
	b := New(int64(1+r.IntN(200)) * 640)
	b.Adopt(tls)
	defer Forget(tls)
	caches := make([]*model, 1+r.IntN(4))
	for i := range caches {
		caches[i] = newModel(tls)
	}
	var stamp uint64
	for range 5000 {
		i := r.IntN(len(caches))
		m := caches[i]
		stamp++
		switch key := uint32(1 + r.IntN(1+r.IntN(300))); r.IntN(21) {
		case 0:
			m.truncate(tls, key)
		case 1:
			m.rekey(tls, key, uint32(1+r.IntN(300)))
		case 20:
			if m.pinned[beyond] == 0 {
				m.rekey(tls, key, beyond)
			} else {
				m.rekey(tls, beyond, key)
			}
		case 2:
			if r.IntN(40) == 0 {
				xDestroy(tls, m.p)
				caches[i] = newModel(tls)
			} else {
				xShrink(tls, m.p)
			}
		case 3, 4, 5, 6, 7, 8:
			for key := range m.pinned {
				m.unpin(tls, key, r.IntN(10) == 0)
				break
			}
		default:
			if len(m.pinned) < 30 && !m.fetch(t, tls, key, int32(r.IntN(3)), stamp) {
				return false
			}
		}
		if !kept(t, b, caches) {
			return false
		}
	}
	for _, m := range caches {
		xDestroy(tls, m.p)
	}
	if b.Used() != 0 {
		t.Errorf("%d bytes are used by nobody", b.Used())
	}
	return !t.Failed()
}

// beyond is a number that SQLite gives pages for a moment while it puts several in order.
const beyond = 1<<18 + 1

// TestPutInOrder: a page that had a number far beyond all others for a moment does not make the
// next truncate search the whole cache.
func TestPutInOrder(t *testing.T) {
	tls := libc.NewTLS()
	defer tls.Close()
	m := newModel(tls)
	defer xDestroy(tls, m.p)
	for key := uint32(1); key <= 100; key++ {
		if !m.fetch(t, tls, key, 2, uint64(key)) {
			return
		}
	}
	m.rekey(tls, 40, beyond)
	m.rekey(tls, 100, 40)
	if !m.fetch(t, tls, 101, 2, 101) {
		return
	}
	m.rekey(tls, beyond, 100)
	if highest := cmem.At[cache](m.p).highest; highest != 101 {
		t.Errorf("the cache takes %d for its highest page", highest)
	}
}

// TestRecycled: a cache that is used again, for another file, has forgotten the last one's pages.
func TestRecycled(t *testing.T) {
	tls := libc.NewTLS()
	defer tls.Close()
	for name, last := range map[string]func(m *model){
		"pinned":    func(*model) {},
		"discarded": func(m *model) { m.unpin(tls, 191, true) },
		"shrunk":    func(m *model) { m.unpin(tls, 191, false); xShrink(tls, m.p) },
		"truncated": func(m *model) { m.truncate(tls, 100) },
	} {
		m := newModel(tls)
		c := cmem.At[cache](m.p)
		if !m.fetch(t, tls, 191, 2, 1) {
			return
		}
		last(m)
		xDestroy(tls, m.p)
		if c.n != 0 || c.highest != 0 || c.second != 0 {
			t.Errorf("%s: the cache has %d pages, and takes %d and %d for its highest", name, c.n, c.highest, c.second)
		}
	}
}

func newModel(tls *libc.TLS) *model {
	m := &model{p: xCreate(tls, modelPage, modelExtra, 1), pinned: map[uint32]uintptr{}, wrote: map[uint32]uint64{}}
	xCachesize(tls, m.p, 10) // of no effect on a cache with a budget
	return m
}

func (m *model) fetch(t *testing.T, tls *libc.TLS, key uint32, create int32, stamp uint64) bool {
	s := xFetch(tls, m.p, key, create)
	was := m.pinned[key]
	switch {
	case was != 0 && s != was:
		t.Errorf("page %d is pinned at %x, and found at %x", key, was, s)
	case s == 0 && create == 2:
		t.Errorf("no page %d", key)
	case s == 0:
		delete(m.wrote, key)
		return true
	}
	h := cmem.At[slot](s)
	buf, extra := cmem.At[[modelPage / 8]uint64](h.buf), cmem.At[[modelExtra / 8]uint64](h.extra)
	fresh := extra[0] == 0
	switch wrote, ok := m.wrote[key]; {
	case fresh && was == 0:
	case !ok:
		t.Errorf("page %d is one that was thrown away", key)
	case buf[0] != wrote || buf[len(buf)-1] != wrote || extra[0] != wrote || extra[len(extra)-1] != wrote:
		t.Errorf("page %d has %d, want %d", key, buf[0], wrote)
	}
	buf[0], buf[len(buf)-1], extra[0], extra[len(extra)-1] = stamp, stamp, stamp, stamp
	m.wrote[key], m.pinned[key] = stamp, s
	return !t.Failed()
}

func (m *model) unpin(tls *libc.TLS, key uint32, discard bool) {
	d := int32(0)
	if discard {
		d = 1
		delete(m.wrote, key)
	}
	xUnpin(tls, m.p, m.pinned[key], d)
	delete(m.pinned, key)
}

func (m *model) rekey(tls *libc.TLS, key, to uint32) {
	s := m.pinned[key]
	if s == 0 || m.pinned[to] != 0 {
		return
	}
	xRekey(tls, m.p, s, key, to)
	m.pinned[to], m.wrote[to] = s, m.wrote[key]
	delete(m.pinned, key)
	delete(m.wrote, key)
}

func (m *model) truncate(tls *libc.TLS, limit uint32) {
	xTruncate(tls, m.p, limit)
	for key := range m.wrote {
		if key >= limit {
			delete(m.wrote, key)
			delete(m.pinned, key)
		}
	}
}

// kept checks the budget, and what the caches say they have.
func kept(t *testing.T, b *Budget, caches []*model) bool {
	var pages, pinned int64
	for _, m := range caches {
		n := xPagecount(nil, m.p)
		if int(n) < len(m.pinned) || int(n) > len(m.wrote) {
			t.Errorf("%d pages; %d are pinned, and %d may be there", n, len(m.pinned), len(m.wrote))
		}
		pages += int64(n)
		pinned += int64(len(m.pinned))
	}
	size := cmem.At[cache](caches[0].p).bytes()
	if b.Used() != pages*size || b.Used() > max(b.limit.Load(), pinned*size) {
		t.Errorf("%d bytes are used, of %d; there are %d pages, %d of them pinned", b.Used(), b.limit.Load(), pages, pinned)
	}
	return !t.Failed()
}
