package disktest

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/vfs/vfstest"
)

var (
	seed   = flag.Uint64("seed", 0, "of the images; 0: by the clock")
	images = flag.Int("images", 2000, "images that are opened, in all scenarios together")
)

// subsets is how many images are made of one crash point before the next one has its turn.
const subsets = 20

// TestPowerLoss: at an operation the power goes. Whatever the disk has kept of what was
// not synced, the database opens, is whole, has all that was promised, and goes on.
//
// Each operation of a scenario is a crash point, with 20 subsets at a time. The seed decides
// in which order they have their turns: a run with fewer images is a sample.
func TestPowerLoss(t *testing.T) {
	seeded(t)
	for _, name := range slices.Sorted(maps.Keys(scenarios)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := play(t, scenarios[name], vfstest.Fault{})
			l.run(l.points(), some(*images)/len(scenarios))
		})
	}
}

// TestPowerLossInJournal: a database that others have made gets a WAL, by way of a rollback
// journal, of which any part may not be on disk yet.
func TestPowerLossInJournal(t *testing.T) {
	t.Parallel()
	seeded(t)
	l := play(t, scenarios["adopt"], vfstest.Fault{})
	var points []int
	for at, next := range l.ops {
		if next.Kind == vfstest.Sync && strings.HasSuffix(next.Path, "app.sqlite-journal") {
			points = append(points, at)
		}
	}
	l.run(points, some(100))
}

// TestLyingDisk: a disk that loses a WAL which it was told to sync is found out: SQLite
// writes pages home before their WAL is on disk, and the bucket gets what the disk has
// not. Were it not, then these tests would see nothing.
func TestLyingDisk(t *testing.T) {
	t.Parallel()
	seeded(t)
	for name, want := range map[string]string{"write": "the disk is behind the bucket", "checkpoint alone": "damaged"} {
		l := play(t, scenarios[name], vfstest.Fault{On: vfstest.Sync, Of: "-wal", Times: math.MaxInt, How: vfstest.Lie})
		found := 0
		l.fail = func(err error) {
			if strings.Contains(err.Error(), want) {
				found++
			} else {
				l.failed-- // what else such a disk does is not counted
			}
		}
		l.run(l.points(), 400)
		if found == 0 {
			t.Errorf("%s: no image shows that %s", name, want)
		}
	}
}

// some is what -short does of n.
func some(n int) int {
	if testing.Short() {
		return n / 5
	}
	return n
}

// seeded prints the seed.
func seeded(t *testing.T) {
	t.Helper()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", *seed)
}

// loss makes the images of one run of a scenario.
type loss struct {
	t    *testing.T
	s    scenario
	w    *world
	ops  []vfstest.Op
	dir  string
	seen map[[32]byte]bool
	fail func(error)

	made, failed int
}

// play runs a scenario.
func play(t *testing.T, s scenario, f vfstest.Fault) *loss {
	t.Helper()
	w := newWorld(t)
	if err := s.before(w); err != nil {
		t.Fatal(err)
	}
	w.watch()
	w.disk.Inject(f)
	if err := s.run(w); err != nil {
		t.Fatal(err)
	}
	w.disk.Close()
	return &loss{
		t: t, s: s, w: w, ops: w.disk.Ops(), dir: systemtest.MemoryDir(t), seen: map[[32]byte]bool{},
		fail: func(err error) { t.Error(err) },
	}
}

// points are the crash points, in the order of the seed: how many operations have ended.
// The last moments before something is synced or promised come first, as most is at stake
// then.
func (l *loss) points() []int {
	var last, between []int
	for at := l.w.start; at <= len(l.ops); at++ {
		if at == len(l.ops) || slices.Contains([]vfstest.Kind{vfstest.Sync, vfstest.SyncFolder, vfstest.Note}, l.ops[at].Kind) {
			last = append(last, at)
		} else {
			between = append(between, at)
		}
	}
	rng := rand.New(rand.NewPCG(*seed, 0))
	for _, points := range [][]int{last, between} {
		rng.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	}
	return append(last, between...)
}

// tooMany failures end a run.
const tooMany = 6

// run makes images until it has opened most different ones, or finds no more.
func (l *loss) run(points []int, most int) {
	begun := time.Now()
	used := 0
	for round := 0; ; round++ {
		before := len(l.seen)
		for n, at := range points {
			for i := 0; i < subsets && len(l.seen) < most && l.failed < tooMany; i++ {
				l.lose(at, round*subsets+i)
				used = max(used, n+1)
			}
		}
		if len(l.seen) == before || len(l.seen) >= most || l.failed >= tooMany {
			break
		}
	}
	l.t.Logf("%d crash points, %d of them used, %d images, %d of them different, %v",
		len(points), used, l.made, len(l.seen), time.Since(begun).Round(time.Millisecond))
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
		l.fail(fmt.Errorf("power loss after operation %d (%v), subset %d: %w\nThe image:\n%v", at, l.ops[at-1], i, err, c.image))
	}
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
