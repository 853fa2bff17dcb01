package disktest

import (
	"flag"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/vfs/vfstest"
)

var (
	seed   = flag.Uint64("seed", 0, "of the images; 0: by the clock")
	images = flag.Int("images", 1200, "images that are opened, in all scenarios together")
)

// subsets is how many images are made of one crash point before the next one has its turn.
const subsets = 20

// TestPowerLoss: at an operation the power goes. Whatever the disk has kept of what was
// not synced, the database opens, is whole, has all that was promised, and goes on.
//
// Each operation of a scenario is a crash point. The seed decides in which order they have
// their turns, so that a run with fewer images is a sample.
func TestPowerLoss(t *testing.T) {
	seeded(t)
	for _, name := range slices.Sorted(maps.Keys(scenarios)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scenarios[name]
			w := s.play(t)
			loss := &loss{t: t, s: s, w: w, ops: w.disk.Ops(), dir: memoryDir(t), seen: map[[32]byte]bool{}}
			w.disk.Close()
			loss.run(*images / len(scenarios))
		})
	}
}

// seeded prints the seed.
func seeded(t *testing.T) {
	t.Helper()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", *seed)
}

// play runs a scenario on a disk without faults.
func (s scenario) play(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	if err := s.before(w); err != nil {
		t.Fatal(err)
	}
	w.watch()
	if err := s.run(w); err != nil {
		t.Fatal(err)
	}
	return w
}

// loss makes the images of one run of a scenario.
type loss struct {
	t    *testing.T
	s    scenario
	w    *world
	ops  []vfstest.Op
	dir  string
	seen map[[32]byte]bool

	made, failed int
}

// run makes images until it has opened most different ones, or finds no more.
func (l *loss) run(most int) {
	begun := time.Now()
	points := rand.New(rand.NewPCG(*seed, 0)).Perm(len(l.ops) - l.w.start + 1)
	done := 0 // of the points, in all rounds
	for round := 0; len(l.seen) < most; round++ {
		before := len(l.seen)
		for _, p := range points {
			if len(l.seen) >= most || l.failed > 5 {
				break
			}
			for i := range subsets {
				l.lose(l.w.start+p, round*subsets+i)
			}
			done++
		}
		if len(l.seen) == before || l.failed > 5 {
			break
		}
	}
	l.t.Logf("%d crash points, %d of them used, %d images, %d of them different, %v",
		len(points), min(done, len(points)), l.made, len(l.seen), time.Since(begun).Round(time.Millisecond))
}

// lose takes the power after some operations, and opens what the disk has then, unless it
// is as another time.
func (l *loss) lose(at, i int) {
	rng := rand.New(rand.NewPCG(*seed, uint64(at)<<32|uint64(i)))
	c := crash{
		s: l.s, ops: l.ops[:at], thorough: rng.IntN(4) == 0, dir: filepath.Join(l.dir, "image"),
		image: l.w.disk.Image(at, vfstest.Subset{Rand: rng, Share: share(rng, i)}),
	}
	l.made++
	if key := c.key(); l.seen[key] {
		return
	} else {
		l.seen[key] = true
	}
	if err := c.in(l.t, l.w.cfg.Path); err != nil {
		l.failed++
		l.t.Errorf("power loss after operation %d (%v), subset %d: %v\nThe image:\n%v", at, last(c.ops), i, err, c.image)
	}
}

func last(ops []vfstest.Op) any {
	if len(ops) == 0 {
		return "none"
	}
	return ops[len(ops)-1]
}

// share is how much of what was not synced survives: nothing, all, or some.
func share(rng *rand.Rand, i int) float64 {
	switch i {
	case 0:
		return 0
	case 1:
		return 1
	}
	return rng.Float64()
}
