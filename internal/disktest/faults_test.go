package disktest

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/vfs/vfstest"
)

var faults = flag.Int("faults", 160, "runs of a scenario on a disk with a fault")

// hows are the faults of each kind of operation.
var hows = map[vfstest.Kind][]vfstest.How{
	vfstest.Read:     {vfstest.EIO},
	vfstest.Write:    {vfstest.EIO, vfstest.ENOSPC, vfstest.Short, vfstest.Torn},
	vfstest.Truncate: {vfstest.EIO},
	vfstest.Sync:     {vfstest.EIO},
}

// TestFaults: an operation of the disk fails, once or from then on. Each call returns an
// error or does what it says; answers are right; and with a disk that works again the
// database has all that was committed or, if the power went too, all that was promised.
//
// Each operation of a scenario has its turn, in an order that the seed decides.
func TestFaults(t *testing.T) {
	seeded(t)
	for _, name := range slices.Sorted(maps.Keys(scenarios)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scene := stage(t, scenarios[name])
			all := scene.faults()
			rng := rand.New(rand.NewPCG(*seed, 1))
			rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			begun, failed := time.Now(), 0
			runs := all[:min(len(all), some(*faults)/len(scenarios))]
			dir := systemtest.MemoryDir(t)
			for _, f := range runs {
				if err := scene.suffer(dir, f, rng); err != nil {
					t.Errorf("%+v: %v", f, err)
					if failed++; failed > 5 {
						return
					}
				}
			}
			t.Logf("%d of %d faults, %v", len(runs), len(all), time.Since(begun).Round(time.Millisecond))
		})
	}
}

// scene is where a scenario begins.
type scene struct {
	t     *testing.T
	s     scenario
	start crash // what is on disk then, and in the bucket
	kept  state
	done  state
	ops   map[vfstest.Kind]int // how many the scenario does
}

func stage(t *testing.T, s scenario) scene {
	t.Helper()
	w := newWorld(t)
	if err := s.before(w); err != nil {
		t.Fatal(err)
	}
	w.watch()
	all := scene{t: t, s: s, kept: w.kept, done: w.committed()}
	before := w.disk.Counts()
	if err := s.run(w); err != nil {
		t.Fatal(err)
	}
	all.ops = w.disk.Counts()
	for k, n := range before {
		all.ops[k] -= n
	}
	all.start = crash{s: s, ops: w.disk.Ops()[:w.start], image: w.disk.Image(w.start, vfstest.Subset{})}
	return all
}

// faults are all that the scenario can have.
func (s scene) faults() []vfstest.Fault {
	var all []vfstest.Fault
	for _, kind := range slices.Sorted(maps.Keys(hows)) {
		for _, how := range hows[kind] {
			for at := 1; at <= s.ops[kind]; at++ {
				for _, times := range []int{1, 1 << 30} {
					all = append(all, vfstest.Fault{On: kind, How: how, At: at, Times: times})
				}
			}
		}
	}
	return all
}

// play plays the scenario in a new folder, with a fault.
func (s scene) play(dir string, f vfstest.Fault) (*world, error) {
	lives := filepath.Join(dir, "lives")
	if err := errors.Join(os.MkdirAll(lives, 0o700), s.start.image.Write(lives)); err != nil {
		return nil, err
	}
	w := &world{t: s.t, bucket: bucketAt(s.start.ops), kept: s.kept, done: maps.Clone(s.done)}
	w.cfg = config(lives, w.bucket)
	w.watch()
	w.disk.Inject(f)
	w.said = s.s.run(w)
	w.disk.Inject(vfstest.Fault{})
	if w.db != nil {
		w.said = errors.Join(w.said, w.close())
	}
	w.disk.Close()
	return w, nil
}

// suffer opens what a disk with a fault has left.
func (s scene) suffer(dir string, f vfstest.Fault, rng *rand.Rand) error {
	defer os.RemoveAll(dir)
	w, err := s.play(dir, f)
	if err := errors.Join(err, w.wrong); err != nil {
		return err
	}
	ops, lives, dead := w.disk.Ops(), filepath.Dir(w.cfg.Path), filepath.Join(dir, "dead")
	on := crash{s: s.s, ops: ops, thorough: true, dir: lives, kept: w.committed()}
	if err := on.check(); err != nil {
		return fmt.Errorf("the power stayed: %w\nThe scenario said:\n%v", err, w.said)
	}
	for _, share := range []float64{0, rng.Float64(), 1} {
		c := crash{s: s.s, ops: ops, thorough: true, dir: dead, image: w.disk.Image(len(ops), vfstest.Subset{Rand: rng, Share: share})}
		if err := c.in(s.t, w.cfg.Path); err != nil {
			return fmt.Errorf("the power went, and %.2f of the rest was on disk: %w\nThe image:\n%v\nThe scenario said:\n%v", share, err, c.image, w.said)
		}
	}
	return nil
}

// TestFailedSync: a sync of the WAL fails once, and what it was to keep is lost, though the
// next one succeeds. Whatever the bucket has got by then, the disk has.
func TestFailedSync(t *testing.T) {
	w := newWorld(t)
	if err := used(w); err != nil {
		t.Fatal(err)
	}
	w.watch()
	if err := errors.Join(w.open(), w.write(1, 3)); err != nil {
		t.Fatal(err)
	}
	w.disk.Inject(vfstest.Fault{On: vfstest.Sync, Of: "-wal", Times: 1, How: vfstest.EIO})
	failed := w.flush()
	if w.disk.Fired() != 1 {
		t.Fatalf("no sync has failed; Flush says %v", failed)
	}
	if err := errors.Join(w.flush(), w.write(1, 1), w.flush()); err != nil {
		t.Fatal(err)
	}
	ops := w.disk.Ops()
	c := crash{ops: ops, dir: filepath.Join(systemtest.MemoryDir(t), "image"), image: w.disk.Image(len(ops), vfstest.Subset{}), thorough: true}
	if err := c.check(); err != nil {
		t.Errorf("%v\nFlush had said %v", err, failed)
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

// TestCloseFailedSync: Close says so if the disk did not take what it was given last.
func TestCloseFailedSync(t *testing.T) {
	for _, of := range []string{"-wal", ".sqlite"} {
		w := newWorld(t)
		if err := used(w); err != nil {
			t.Fatal(err)
		}
		w.watch()
		if err := errors.Join(w.open(), w.write(1, 3)); err != nil {
			t.Fatal(err)
		}
		w.disk.Inject(vfstest.Fault{On: vfstest.Sync, Of: of, Times: 1 << 30, How: vfstest.EIO})
		w.db.StopSync()
		if err := w.db.Close(); err == nil || !strings.Contains(err.Error(), "disk") || w.disk.Fired() == 0 {
			t.Errorf("%s: %d syncs failed; Close says %v", of, w.disk.Fired(), err)
		}
		w.disk.Close()
	}
}
