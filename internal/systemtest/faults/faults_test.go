package faults_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

var (
	seedFlag  = flag.Int64("seed", -1, "TestSchedules, TestFollowers, TestClocks and TestLies run with this seed alone")
	seedsFlag = flag.String("seeds", "", "TestSchedules, TestFollowers, TestClocks and TestLies run with these seeds, `from-to`")
)

// TestSchedules runs random schedules: machines write, sync, take snapshots,
// die, lose their disks and take over from one another, on stores that fail in
// all the ways that stores fail in, while days pass. After each, and now and
// then in between, restores have to give what the invariant promises.
//
// A failure tells its seed and what happened. "make faults" runs 10,000.
func TestSchedules(t *testing.T) {
	dir := systemtest.MemoryDir(t)
	from, to := seeds(t, 20, 200)
	for seed := from; seed < to; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newSchedule(t, filepath.Join(dir, fmt.Sprint(seed)), seed).run() })
		})
	}
}

// seeds is the range of the seeds to run: short and full of them, unless a flag says
// otherwise.
func seeds(t *testing.T, short, full uint64) (from, to uint64) {
	switch {
	case *seedFlag >= 0:
		return uint64(*seedFlag), uint64(*seedFlag) + 1
	case *seedsFlag != "":
		if _, err := fmt.Sscanf(*seedsFlag, "%d-%d", &from, &to); err != nil {
			t.Fatalf("-seeds %s: %v", *seedsFlag, err)
		}
		return from, to
	case testing.Short():
		return 0, short
	}
	return 0, full
}

// schedule is one run.
type schedule struct {
	*world
	seed   uint64
	spoils bool // bodies are altered on their way to the store
	bursts bool // of many small batches, which are merged

	followers *followers // nil: none
}

func newSchedule(t *testing.T, dir string, seed uint64) *schedule {
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := &schedule{seed: seed, world: &world{TB: t, rnd: rnd, dir: dir, bucket: objstore.Mem()}}
	s.cfg = driftdb.Config{
		CloseTimeout: -1, // a machine that stops sends nothing more
		Name:         "app", AutoRestore: true, ManualSync: s.one(3),
		SnapshotEvery: choose(rnd, 0, 1, 5, 20), MaxBatchSize: choose(rnd, 0, 1, 2, 7),
		Retention:   choose(rnd, 0, -1, 3*24*time.Hour),
		MaxLogBytes: choose[int64](rnd, 0, 0, 0, 8<<10),
		Retry:       driftdb.RetryPolicy{MaxRetries: choose(rnd, -1, 1, 3)},
	}
	if s.one(3) {
		s.cfg.EncryptionKeys = []string{systemtest.KeyOf("5e")}
	}
	if s.cfg.Retention > 0 { // and days pass
		s.cfg.SyncInterval = 10 * time.Minute
	}
	s.spoils, s.bursts = s.one(8), s.one(8)
	if s.bursts {
		s.cfg.MaxBatchSize = 1
	}
	s.barriers = s.cfg.MaxLogBytes > 0
	s.note("seed %d: %+v", seed, s.cfg)
	return s
}

func (s *schedule) run() {
	defer s.clear()
	for range 10 + s.rnd.IntN(15) {
		s.step()
	}
	s.finish()
}

func choose[T any](rnd *rand.Rand, choices ...T) T { return choices[rnd.IntN(len(choices))] }

// clear closes what runs, and deletes the files.
func (s *schedule) clear() {
	if s.followers != nil {
		s.followers.clear()
	}
	for _, m := range s.machines {
		if m.db != nil {
			if err := m.db.Close(); err != nil && !errors.Is(err, driftdb.ErrUnsent) {
				s.Error(err)
			}
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		s.Error(err)
	}
}

// change changes the weather of a machine's store.
func (s *schedule) change(m *machine, to weather) {
	s.note("%s: %s", m, to.name)
	var spoils func()
	if s.spoils {
		spoils = func() { s.spoilt.Store(true) }
	}
	m.store.SetHook(to.hook(s.seed, spoils))
}

// running is a machine that runs, a new one if there is none.
func (s *schedule) running() *machine {
	var alive []*machine
	for _, m := range s.machines {
		if m.lost {
			continue
		}
		if m.db != nil || m.start() || s.patient(m) {
			alive = append(alive, m)
		}
	}
	if len(alive) > 0 {
		return choose(s.rnd, alive...)
	}
	m := s.newMachine()
	if m.start() || s.patient(m) {
		return m
	}
	s.Skip("damaged beyond use") // only ever with what is spoilt, see patient
	return nil
}

// patient starts a machine when faults are over. That has to work, unless the
// machine has lost the database, or what is stored is damaged.
func (s *schedule) patient(m *machine) bool {
	if m.lost {
		return false
	}
	s.change(m, calm)
	if m.start() {
		return true
	}
	if !m.lost && !s.spoilt.Load() {
		s.fatal("%s cannot be opened with a store that works", m)
	}
	return false
}

func (s *schedule) step() {
	m := s.running()
	switch n := s.rnd.IntN(100); {
	case n < 35:
		s.act(m)
	case n < 37:
		m.vacuum()
	case n < 40:
		if s.bursts {
			for range 80 {
				if m.db != nil {
					m.write()
				}
			}
		}
	case n < 50:
		m.flush()
	case n < 55:
		m.snapshot()
	case n < 60:
		s.sleep(time.Duration(s.rnd.Int64N(int64(2 * time.Minute))))
	case n < 65:
		if s.cfg.Retention > 0 {
			s.days(m)
		}
	case n < 70:
		s.change(m, choose(s.rnd, weathers...))
	case n < 74:
		m.stop()
	case n < 86:
		s.die(m)
	case n < 90:
		s.loseDisk(m)
	case n < 93:
		s.another()
	case n < 95:
		s.copyOf(m)
	case n < 97:
		s.checkLatest(s.reader())
	default:
		s.checkEarlier(s.reader())
	}
	s.observe()
	if s.followers != nil {
		for range 2 {
			s.followers.step()
		}
	}
}

// reader is the way of somebody who restores, with faults of his own.
func (s *schedule) reader() objstore.Store {
	if s.one(3) {
		return s.bucket
	}
	return objstoretest.Break(s.bucket, choose(s.rnd, weathers...).hook(s.rnd.Uint64(), nil))
}

// act does one of the things that a process does all day.
func (s *schedule) act(m *machine) {
	switch s.rnd.IntN(9) {
	case 0:
		m.flush()
	case 8:
		m.waitSynced()
	case 1:
		s.sleep(time.Duration(s.rnd.Int64N(int64(20 * time.Second))))
	case 2:
		m.snapshot()
	default:
		m.write()
	}
}

func (s *schedule) sleep(d time.Duration) {
	s.note("sleep %s", d)
	time.Sleep(d)
	synctest.Wait()
}

// days pass, and something is written on each.
func (s *schedule) days(m *machine) {
	for _, m := range s.machines {
		if !m.lost {
			s.change(m, calm) // else thousands of rounds fail
		}
	}
	if s.followers != nil {
		s.followers.rest()
	}
	for range 1 + s.rnd.IntN(5) {
		if m.db == nil || s.spoilt.Load() {
			return
		}
		m.write()
		s.sleep(time.Duration(s.rnd.Int64N(int64(40 * time.Hour))))
		if m.db != nil && s.one(3) {
			_, _, err := m.db.CollectGarbage(s.Context())
			s.note("collect: %v", err)
			if err != nil {
				m.failed(err)
			}
		}
		if m.db != nil && s.one(3) {
			m.snapshot()
		}
		s.observe()
	}
}

// die lets a process die in the middle of what it does, and starts it again.
func (s *schedule) die(m *machine) {
	m.arm(s.rnd.IntN(1<<s.rnd.IntN(5)), s.one(2))
	for range 1 + s.rnd.IntN(4) {
		if m.db != nil {
			s.act(m)
		}
	}
	if m.lost {
		return
	}
	m.bury()
	s.change(m, choose(s.rnd, calm, calm, drizzle, storm))
	if s.one(4) {
		s.checkLatest(s.bucket)
	}
}

// loseDisk takes a machine away. What it had not sent is lost.
func (s *schedule) loseDisk(m *machine) {
	m.stop()
	m.lose()
	s.note("%s loses its disk", m)
	s.another()
}

// another machine starts, with what the bucket has.
func (s *schedule) another() {
	if s.spoilt.Load() {
		return
	}
	s.begin(s.newMachine())
}

// copyOf starts a machine with a copy of m's disk, beside m.
func (s *schedule) copyOf(m *machine) {
	m.stop()
	if c := m.clone(); s.one(2) {
		s.begin(c)
	}
}

func (s *schedule) begin(m *machine) {
	s.change(m, choose(s.rnd, weathers...))
	if !m.start() {
		s.patient(m)
	}
}

// finish ends all faults. Then the backup is restored, the machine that goes
// on sends what it has, and the backup holds exactly that.
func (s *schedule) finish() {
	s.checkLatest(s.bucket)
	for range 3 {
		s.checkEarlier(s.bucket)
	}
	for _, m := range s.machines {
		if m.stop(); !m.lost {
			s.change(m, calm)
		}
	}
	s.checkLatest(s.bucket)
	s.checkBranches()
	for i := len(s.machines) - 1; i >= 0; i-- {
		m := s.machines[i]
		if m.lost || !m.start() {
			continue
		}
		_, err := m.db.Exec(s.Context(), "INSERT INTO k VALUES('the end', ?)", m.String())
		if m.wrote("the end", err); m.db != nil {
			m.flush()
		}
		if m.db != nil {
			s.exactly(m)
			if s.followers != nil {
				s.followers.finish(m)
			}
			return
		}
	}
}

// exactly compares the backup with the one that has written it.
func (s *schedule) exactly(m *machine) {
	if m.db.Sequence() == 0 || s.spoilt.Load() {
		return
	}
	if s.sent != (place{m, m.db.Sequence()}) && s.sent.sequence != m.db.Sequence() {
		s.fatal("%s could not send all that it has, up to %d, to a store that works", m, m.db.Sequence())
	}
	res, dump, err := s.restore(s.bucket, driftdb.RestoreConfig{})
	if err != nil || res.Sequence != m.db.Sequence() {
		s.fatal("restored up to %d: %v", res.Sequence, err)
	}
	now, err := dbtest.Dump(m.cfg.Path)
	if err == nil {
		err = dbtest.CompareDumps(now, dump)
	}
	if err != nil {
		s.fatal("%v", err)
	}
}
