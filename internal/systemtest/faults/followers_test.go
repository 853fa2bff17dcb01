package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestFollowers runs the schedules of TestSchedules with followers beside the machines:
// they start, stop, die, lose their disks and are promoted, on stores that fail as well. At
// every moment a follower is what the source was at some commit, and it never goes back.
// When faults are over it comes to the end of the history.
//
// A failure tells its seed and what happened. "make followers" runs 10,000.
func TestFollowers(t *testing.T) {
	dir := systemtest.MemoryDir(t)
	from, to := seeds(t, 12, 300)
	for seed := from; seed < to; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSchedule(t, filepath.Join(dir, fmt.Sprint(seed)), seed)
				s.followers = &followers{schedule: s, rnd: rand.New(rand.NewPCG(seed, 2))}
				s.run()
			})
		})
	}
}

// followers are those of one schedule. They have random numbers of their own, so that the
// machines do what they do without followers, until one is promoted.
type followers struct {
	*schedule
	rnd *rand.Rand
	all []*standby
}

// standby is a disk with a follower, and the process that has it open.
type standby struct {
	*followers
	name  string
	path  string
	store *objstoretest.Faulty
	f     *driftdb.Follower // nil: not running

	at   int64  // where it was last …
	dump string // … and what it was then
}

func (s *standby) String() string { return s.name }

const mostStandbys = 3

// step lets one follower do something.
func (fs *followers) step() {
	if len(fs.all) == 0 || len(fs.all) < mostStandbys && fs.rnd.IntN(12) == 0 {
		s := &standby{followers: fs, name: fmt.Sprintf("follower%d", len(fs.all)+1), path: fs.newPath()}
		s.store = objstoretest.Break(fs.bucket, nil)
		fs.all = append(fs.all, s)
	}
	s := choose(fs.rnd, fs.all...)
	if s.f == nil {
		s.start()
		return
	}
	switch n := fs.rnd.IntN(100); {
	case n < 25:
		s.change(choose(fs.rnd, weathers...))
	case n < 45:
		s.waits()
	case n < 60:
		s.stop()
	case n < 75:
		s.dies()
	case n < 79:
		s.losesDisk()
	case n < 83:
		s.promote()
	}
	fs.check()
}

func (s *standby) change(to weather) {
	s.note("%s: %s", s, to.name)
	s.store.SetHook(to.hook(s.rnd.Uint64(), nil))
}

// start follows. It may fail like a restore.
func (s *standby) start() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	b, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: s.cfg.Name, Store: s.store, EncryptionKeys: s.cfg.EncryptionKeys, Retry: s.cfg.Retry})
	if err == nil {
		s.f, err = b.Follow(ctx, s.path, driftdb.FollowConfig{PollInterval: choose(s.rnd, 100*time.Millisecond, time.Second, 0)})
	}
	s.note("%s starts: %v", s, err)
	if err != nil {
		s.f = nil
		s.may(err)
		return
	}
	s.check()
}

// may ends the test if nobody has injected an error.
func (s *standby) may(err error) {
	if !s.expected(err) && !errors.Is(err, context.DeadlineExceeded) {
		s.fatal("%s: an error that nobody has injected: %v", s, err)
	}
}

func (s *standby) stop() {
	if s.f == nil {
		return
	}
	if err := s.f.Close(); err != nil {
		s.fatal("%s: close: %v", s, err)
	}
	s.f = nil
	s.note("%s stops at %d", s, s.at)
	s.check()
}

// rest stops followers before days pass: most of the time, since each looks at its file
// every five seconds.
func (fs *followers) rest() {
	for _, s := range fs.all {
		if fs.rnd.IntN(8) > 0 {
			s.stop()
		}
	}
}

// waits waits for what has been acknowledged. It is there if the store works and the
// manifest says so.
func (s *standby) waits() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(s.rnd.Int64N(int64(2*time.Minute))))
	defer cancel()
	err := s.f.WaitFor(ctx, s.sent.sequence)
	s.note("%s waits for %d: %v", s, s.sent.sequence, err)
	switch at := s.f.Sequence(); {
	case err == nil && at < s.sent.sequence:
		s.fatal("%s has waited for %d, and is at %d", s, s.sent.sequence, at)
	case err != nil:
		s.may(err)
	}
}

// dies makes the disk what a process that dies now leaves of it.
func (s *standby) dies() {
	clone := s.path + cloneSuffix
	if err := systemtest.CloneDisk(s.path, clone); err != nil {
		s.fatal("clone the disk of %s: %v", s, err)
	}
	s.stop()
	s.note("%s has died", s)
	if err := os.Remove(s.path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.fatal("%v", err)
	}
	for _, suffix := range []string{"", "-wal", "-lock"} {
		if err := os.Rename(clone+suffix, s.path+suffix); err != nil {
			s.fatal("%v", err)
		}
	}
}

func (s *standby) losesDisk() {
	s.stop()
	s.note("%s loses its disk", s)
	s.path, s.at, s.dump = s.newPath(), 0, ""
}

// check looks at all followers that run: at those that seem to stand still, now and then.
func (fs *followers) check() {
	fs.observe()
	for _, s := range fs.all {
		if s.f != nil && (s.f.Sequence() != s.at || fs.rnd.IntN(4) == 0) {
			s.check()
		}
	}
}

// check compares what the file holds with what the source was.
func (s *standby) check() {
	if _, err := os.Stat(s.path); err != nil {
		return
	}
	var told int64 // before we look: it may move on meanwhile
	if s.f != nil {
		if err := s.f.Err(); err != nil {
			s.may(err)
		}
		told = s.f.Sequence()
	}
	dump, at, err := dbtest.DumpAt(s.path)
	if err != nil {
		s.fatal("%s: %v", s, err)
	}
	if told > at {
		s.fatal("%s tells %d, and is at %d", s, told, at)
	}
	switch {
	case at < s.at:
		s.fatal("%s was at %d, and is at %d", s, s.at, at)
	case at == s.at && s.dump != "" && dump != s.dump:
		s.fatal("%s is at %d as before, and differs:\n%s", s, at, dbtest.Diff(s.dump, dump))
	case at == s.at:
		return
	}
	s.note("%s is at %d", s, at)
	s.at, s.dump = at, dump
	if at > s.sent.sequence {
		s.prove(at, dump)
		return
	}
	was, known := s.sent.m.state(at)
	if !known {
		s.fatal("%s is at %d, where %s never was", s, at, s.sent.m)
	}
	if err := dbtest.CompareDumps(was.dump, dump); err != nil {
		s.fatal("%s at %d is not what %s was: %v", s, at, s.sent.m, err)
	}
}

// promote makes a follower a machine. Nothing that was acknowledged is missing.
func (s *standby) promote() {
	m := s.newMachine()
	m.cfg.Path, m.cfg.NodeID, m.cfg.AutoRestore = s.path, "", false
	m.store.SetHook(choose(s.rnd, weathers...).hook(s.rnd.Uint64(), nil))
	m.starts++
	m.began = m.starts
	db, err := s.f.Promote(context.Background(), m.cfg)
	s.f = nil
	s.note("%s is promoted, and is %s: %v", s, m, err)
	if err != nil {
		s.may(err)
		m.lose()
		s.check() // it is still a follower
		return
	}
	m.db, m.cfg.NodeID = db, db.NodeID()
	dump, at, err := dbtest.DumpAt(s.path)
	if err != nil {
		s.fatal("%v", err)
	}
	if at != db.Sequence() || at < s.at {
		s.fatal("%s was at %d; it has been promoted at %d, and the file is at %d", s, s.at, db.Sequence(), at)
	}
	m.restored(at, dump)
	s.path, s.at, s.dump = s.newPath(), 0, "" // the follower has become the machine
	if at == 0 {
		m.define() // what it followed was empty
	}
}

// finish lets the followers come to where m, the writer, is.
func (fs *followers) finish(m *machine) {
	if fs.spoilt.Load() || m.db.Sequence() == 0 {
		return
	}
	for _, s := range fs.all {
		s.change(calm)
		if s.f == nil {
			s.start()
		}
		if s.f == nil {
			s.fatal("%s cannot follow by way of a store that works", s)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		if err := s.f.WaitFor(ctx, m.db.Sequence()); err != nil {
			s.fatal("%s does not come to %d: %v", s, m.db.Sequence(), err)
		}
		cancel()
		s.check()
		now, err := dbtest.Dump(m.cfg.Path)
		if err == nil {
			err = dbtest.CompareDumps(now, s.dump)
		}
		if err != nil {
			s.fatal("%s at %d is not what %s is: %v", s, s.at, m, err)
		}
	}
}

// clear ends those that run.
func (fs *followers) clear() {
	for _, s := range fs.all {
		if s.f == nil {
			continue
		}
		if err := s.f.Close(); err != nil {
			fs.Error(err)
		}
	}
}
