package faults_test

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// death is how a process dies: at a call of its store, with what its files
// hold at that moment. The process knows nothing of it and goes on, but none
// of its calls reaches the store any more; what counts is the copy.
type death struct {
	mu       sync.Mutex
	calls    int  // until then; it dies at the one after
	reaches  bool // the last call still takes effect
	path     string
	database func() int64

	dead     bool
	sequence int64 // of the last commit by then
	err      error
}

// at is asked by the store's hook whether the process is dead.
func (d *death) at() objstoretest.Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.dead:
		return objstoretest.Fault{Kind: objstoretest.Fail}
	case d.calls > 0:
		d.calls--
		return objstoretest.Fault{}
	}
	d.die()
	if d.reaches {
		return objstoretest.Fault{Kind: objstoretest.Lose}
	}
	return objstoretest.Fault{Kind: objstoretest.Fail}
}

// die copies the files: a crash clone. What was committed before is in it.
func (d *death) die() {
	d.dead, d.sequence = true, d.database()
	d.err = systemtest.CloneDisk(d.path, d.path+cloneSuffix)
}

const cloneSuffix = "-clone"

// arm lets the process die at a call from now on.
func (m *machine) arm(calls int, reaches bool) {
	m.note("%s will die after %d calls; the last one takes effect: %v", m, calls, reaches)
	m.death = &death{calls: calls, reaches: reaches, path: m.cfg.Path, database: m.db.Sequence}
	d := m.death
	m.store.SetHook(func(c objstoretest.Call) objstoretest.Fault { return d.at() })
}

// bury ends the process if it has not died by itself, and makes its disk what
// it was when it died.
func (m *machine) bury() {
	d := m.death
	d.mu.Lock()
	if !d.dead {
		d.die()
	}
	d.mu.Unlock()
	if d.err != nil {
		m.fatal("clone the disk of %s: %v", m, d.err)
	}
	m.stop()
	m.note("%s died at %d", m, d.sequence)
	if err := os.Remove(m.cfg.Path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.fatal("%v", err)
	}
	for _, suffix := range []string{"", "-wal", "-lock"} {
		if err := os.Rename(m.cfg.Path+cloneSuffix+suffix, m.cfg.Path+suffix); err != nil {
			m.fatal("%v", err)
		}
	}
}

// weather is how likely the calls of a store go wrong.
type weather struct {
	name  string
	rate  float64
	kinds []objstoretest.Kind
}

var (
	calm     = weather{name: "calm"}
	drizzle  = weather{"drizzle", 0.05, []objstoretest.Kind{objstoretest.Fail, objstoretest.Lose, objstoretest.Cut, objstoretest.Flip, objstoretest.None}}
	storm    = weather{"storm", 0.3, drizzle.kinds}
	away     = weather{"away", 1, []objstoretest.Kind{objstoretest.Fail}}
	mute     = weather{"mute", 1, []objstoretest.Kind{objstoretest.Lose}}
	slow     = weather{"slow", 1, []objstoretest.Kind{objstoretest.None}}
	weathers = []weather{calm, calm, drizzle, drizzle, storm, away, mute, slow}
)

// faultCodes are the answers that a fault may give.
var faultCodes = []int{403, 409, 412, 429, 500, 503}

// hook makes faults, which depend on the seed and on the call, not on the order
// of calls at the same time. Only if it may spoil what is stored, bodies are
// altered on their way there.
func (w weather) hook(seed uint64, spoils func()) objstoretest.Hook {
	return func(c objstoretest.Call) objstoretest.Fault {
		h := fnv.New64a()
		fmt.Fprintf(h, "%s %d %s", c.Op, c.Try, c.Key)
		rng := rand.New(rand.NewPCG(seed, h.Sum64()))
		if rng.Float64() >= w.rate {
			return objstoretest.Fault{}
		}
		f := objstoretest.Fault{
			Kind: w.kinds[rng.IntN(len(w.kinds))],
			Err:  objstoretest.Status(faultCodes[rng.IntN(len(faultCodes))]),
			At:   rng.Int64N(1 << rng.IntN(14)),
		}
		if f.Kind == objstoretest.None || rng.IntN(4) == 0 {
			f.Delay = time.Duration(rng.Int64N(int64(10 * time.Second)))
		}
		if f.Kind == objstoretest.Flip && c.Op == objstoretest.Put {
			if spoils == nil {
				f.Kind = objstoretest.Fail
			} else {
				spoils()
			}
		}
		return f
	}
}
