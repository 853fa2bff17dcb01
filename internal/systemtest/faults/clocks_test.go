package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestClocks runs a database through sessions at random times, between which the
// machine's clock is set wrong, by hours to decades, and right again. Whatever it is
// set to, a restore to a time gives everything up to the last change whose own time is
// not later; nothing within Retention is given up; and what is older goes.
//
// With every other seed the store has this machine's clock. Nobody can tell what is
// old then; so half of the window has to stay, through two collections with a wrong
// clock in a row.
//
// A failure tells its seed and what happened. "make clocks" runs 2,000.
func TestClocks(t *testing.T) {
	dir := systemtest.MemoryDir(t)
	from, to := seeds(t, 10, 30)
	for seed := from; seed < to; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			runClocks(t, filepath.Join(dir, fmt.Sprint(seed)), seed)
		})
	}
}

// clocks is one run. What it knows of times, it knows by the true clock.
type clocks struct {
	*testing.T
	rnd   *rand.Rand
	cfg   driftdb.Config
	store *clockedStore
	own   bool // the store's clock is the machine's
	disks int
	notes []string
	told  []driftdb.Event // of clocks

	ctx     context.Context
	now     time.Time        // at the end of the last session
	truth   func() time.Time // the true time, in a session
	offset  time.Duration    // of the machine's clock
	commits []commit
	rows    int64
	right   time.Time     // when the manifest was last replaced with a right clock
	gap     time.Duration // from that to a snapshot with a wrong one, at most
}

// commit is a transaction.
type commit struct {
	sequence, rows int64
	at             time.Time // by the true clock
	time           int64     // by the machine's
	right          bool      // they are the same
	barrier        bool
}

func runClocks(t *testing.T, dir string, seed uint64) {
	defer os.RemoveAll(dir) // nobody waits for 2,000 of them
	c := newClocks(t, dir, seed)
	c.own = seed%2 == 1
	c.cfg.SnapshotEvery, c.cfg.MaxBatchSize = choose(c.rnd, 0, 5, 20), choose(c.rnd, 0, 1, 3)
	c.cfg.ManualSync = c.own || c.one(2)
	c.cfg.Retention = 24 * time.Hour * choose[time.Duration](c.rnd, 2, 5, 12)
	if c.own {
		c.cfg.Retention = 24 * time.Hour * choose[time.Duration](c.rnd, 8, 12)
	}
	c.note("seed %d: %+v", seed, c.cfg)
	c.session(0, func(db *driftdb.DB) error { return errors.Join(c.create(db), c.snapshot(db)) })
	for range 6 + c.rnd.IntN(8) {
		c.pass()
		c.session(c.jump(), c.work)
		if c.own { // and then it is set right
			c.session(0, c.work)
		}
		if c.one(6) {
			c.moves()
		}
		if c.one(2) {
			c.check(3)
		}
	}
	c.check(12)
	c.goesOn()
}

// newClocks is a run in which nothing has happened yet. Its clocks are right.
func newClocks(t *testing.T, dir string, seed uint64) *clocks {
	c := &clocks{T: t, ctx: context.Background(), rnd: rand.New(rand.NewPCG(seed, 2)), now: time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)}
	c.store = &clockedStore{Store: objstore.Mem(), stored: map[string]time.Time{}}
	c.cfg = driftdb.Config{
		Name: "app", Path: filepath.Join(dir, "app.sqlite"), Store: c.store, AutoRestore: true, ManualSync: true,
		SyncInterval: 10 * time.Minute, ManifestInterval: 1000 * time.Hour, // what is past the manifest has to be found, too
		OnEvent: func(e driftdb.Event) {
			if e.Scope == driftdb.ScopeClock {
				c.told = append(c.told, e)
			}
		},
	}
	return c
}

// clockedStore is a store with a clock.
type clockedStore struct {
	objstore.Store
	now    func() time.Time
	mu     sync.Mutex
	stored map[string]time.Time
}

func (s *clockedStore) stamp(info objstore.Info) objstore.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	info.ModTime = s.stored[info.Key]
	return info
}

func (s *clockedStore) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	info, err := s.Store.Put(ctx, key, body, opts)
	if err != nil {
		return info, err
	}
	s.mu.Lock()
	s.stored[key] = s.now().Round(0)
	s.mu.Unlock()
	return s.stamp(info), nil
}

func (s *clockedStore) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	body, info, err := s.Store.Get(ctx, key, opts)
	return body, s.stamp(info), err
}

func (s *clockedStore) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		for info, err := range s.Store.List(ctx, prefix, opts) {
			if !yield(s.stamp(info), err) {
				return
			}
		}
	}
}

func (c *clocks) one(of int) bool { return c.rnd.IntN(of) == 0 }

func (c *clocks) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

func (c *clocks) fatal(format string, args ...any) {
	c.Helper()
	c.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(c.notes, "\n"))
}

// upTo is a duration from a second on, in whole milliseconds.
func (c *clocks) upTo(d time.Duration) time.Duration {
	return time.Second + time.Duration(c.rnd.Int64N(d.Milliseconds()))*time.Millisecond
}

// pass lets time pass while the database is closed.
func (c *clocks) pass() {
	if c.own {
		c.now = c.now.Add(c.upTo(12 * time.Hour))
	} else {
		c.now = c.now.Add(c.upTo(c.cfg.Retention / time.Duration(1+c.rnd.IntN(20))))
	}
}

// jump is what the clock is wrong by in the next session: nothing, or from an hour to
// decades, back or ahead.
func (c *clocks) jump() time.Duration {
	if c.one(3) {
		return 0
	}
	d := time.Duration(float64(time.Hour) * math.Exp(c.rnd.Float64()*math.Log(35*365*24))).Round(time.Millisecond)
	if c.one(2) {
		return -d
	}
	return d
}

// session opens the database while the clock is wrong by offset.
func (c *clocks) session(offset time.Duration, work func(*driftdb.DB) error) {
	c.Helper()
	var err error
	synctest.Test(c.T, func(t *testing.T) {
		time.Sleep(time.Until(c.now.Add(offset)))
		began := time.Now()
		c.ctx = t.Context()
		defer func() { c.ctx = context.Background() }()
		c.truth, c.offset = func() time.Time { return c.now.Add(time.Since(began)) }, offset
		c.store.now = c.truth
		if c.own {
			c.store.now = time.Now
		}
		c.note("session at %s, clock wrong by %s", c.now.Format(time.DateTime), offset)
		db, oerr := driftdb.Open(c.ctx, c.cfg)
		if err = oerr; err != nil {
			return
		}
		if len(c.commits) > 0 && db.Sequence() != c.last().sequence {
			err = fmt.Errorf("the database is at change %d, was at %d", db.Sequence(), c.last().sequence)
		}
		if err == nil {
			err = work(db)
		}
		err = errors.Join(err, db.Close())
		c.now = c.truth()
	})
	if err != nil {
		c.fatal("%v", err)
	}
}

func (c *clocks) last() commit { return c.commits[len(c.commits)-1] }

// work is what a session does.
func (c *clocks) work(db *driftdb.DB) (err error) {
	collections := 0
	if c.offset == 0 { // what the clock shows now is told
		err = errors.Join(c.insert(db), c.flush(db))
	}
	for n := 1 + c.rnd.IntN(6); n > 0 && err == nil; n-- {
		switch c.rnd.IntN(15) {
		case 0, 1, 2, 3, 4:
			err = c.insert(db)
		case 5:
			err = c.flush(db)
		case 6, 7, 8:
			err = c.snapshot(db)
		case 12, 13, 14:
			if collections++; collections > 1 {
				c.sleep(25 * time.Hour)
			}
			if !c.own || c.offset == 0 || collections <= 2 {
				err = c.collect(db)
			}
		case 9:
			c.sleep(c.upTo(6 * time.Hour))
		case 10:
			c.sleep(c.upTo(time.Minute))
		case 11:
			if c.one(2) {
				c.note("vacuum")
				err = db.Vacuum(c.ctx)
				c.committed(db, err, true)
			}
		}
	}
	switch {
	case err != nil || c.one(3):
	case !c.cfg.ManualSync && c.one(2):
		err = c.insert(db)
		c.sleep(2 * c.cfg.SyncInterval) // it is sent, and no manifest says so
	default:
		err = c.flush(db)
	}
	return err
}

func (c *clocks) sleep(d time.Duration) {
	c.note("sleep %s", d)
	time.Sleep(d)
	synctest.Wait()
}

func (c *clocks) create(db *driftdb.DB) error {
	_, err := db.Exec(c.ctx, "CREATE TABLE t(id INTEGER PRIMARY KEY)")
	c.committed(db, err, false)
	return err
}

func (c *clocks) insert(db *driftdb.DB) error {
	_, err := db.Exec(c.ctx, "INSERT INTO t VALUES(NULL)")
	if err == nil {
		c.rows++
	}
	c.committed(db, err, false)
	return err
}

func (c *clocks) committed(db *driftdb.DB, err error, barrier bool) {
	if err == nil {
		c.commits = append(c.commits, commit{db.Sequence(), c.rows, c.truth(), time.Now().UnixMilli(), c.offset == 0, barrier})
		c.note("commit %d at %s", db.Sequence(), c.truth().Format(time.DateTime))
	}
}

func (c *clocks) flush(db *driftdb.DB) error {
	c.note("flush")
	err := db.Flush(c.ctx)
	c.sawStore()
	return err
}

func (c *clocks) snapshot(db *driftdb.DB) error {
	s, err := db.Snapshot(c.ctx)
	c.note("snapshot of %d", s.Sequence)
	c.sawStore()
	return err
}

func (c *clocks) collect(db *driftdb.DB) error {
	n, _, err := db.CollectGarbage(c.ctx)
	c.sawStore()
	c.note("collection: %d objects", n)
	return errors.Join(err, c.checkWindow(c.truth()))
}

// sawStore notes that the store's clock was seen, and perhaps a snapshot taken.
func (c *clocks) sawStore() {
	if c.offset == 0 {
		c.right = c.truth()
	} else {
		c.gap = max(c.gap, c.truth().Sub(c.right))
	}
}

// moves lets another machine, with an empty disk, go on with what the bucket has.
func (c *clocks) moves() {
	c.session(0, func(db *driftdb.DB) error { return errors.Join(c.insert(db), c.flush(db)) })
	c.disks++
	c.cfg.Path = filepath.Join(filepath.Dir(c.cfg.Path), fmt.Sprint("disk", c.disks, ".sqlite"))
	c.note("another machine")
}

// kept is what a manifest says that there is.
type kept struct {
	Pruned    int64 `json:"prunedSequence"`
	Snapshots []struct{ Sequence int64 }
}

func (c *clocks) manifest() (m kept, err error) {
	body, _, err := c.store.Get(c.ctx, "databases/app/manifest.json", objstore.GetOptions{})
	if err != nil {
		return m, err
	}
	return m, json.NewDecoder(body).Decode(&m)
}

// at is the last commit that was made by then, by the true clock; zero if there is
// none.
func (c *clocks) at(then time.Time) (last commit) {
	for _, k := range c.commits {
		if !k.at.After(then) {
			last = k
		}
	}
	return last
}

// checkWindow looks whether the state at the beginning of the window, and so every
// one after it, has been given up.
func (c *clocks) checkWindow(now time.Time) error {
	begins := now.Add(-c.cfg.Retention)
	if c.own {
		begins = now.Add(-c.cfg.Retention/2 + c.gap)
	}
	m, err := c.manifest()
	if first := c.at(begins); err == nil && m.Pruned > first.sequence {
		err = fmt.Errorf("at %s everything before change %d was given up; at %s, within the window, change %d was the last",
			now.Format(time.DateTime), m.Pruned, begins.Format(time.DateTime), first.sequence)
	}
	return err
}

// check restores to several times, and to several changes.
func (c *clocks) check(times int) {
	c.Helper()
	m, err := c.manifest()
	latest, rerr := c.restore(driftdb.RestoreConfig{})
	if err := errors.Join(err, rerr, c.checkWindow(c.now)); err != nil {
		c.fatal("%v", err)
	}
	var there []commit // in the bucket
	for _, k := range c.commits {
		if k.sequence <= latest.Sequence {
			there = append(there, k)
		}
	}
	for range times {
		c.checkTime(m, there, c.someTime(there))
	}
	for range times / 3 {
		k := choose(c.rnd, there...)
		res, err := c.restore(driftdb.RestoreConfig{Sequence: k.sequence})
		c.compare(fmt.Sprint("change ", k.sequence), m, there, k, res, err)
	}
}

// someTime is a time at which something may have happened.
func (c *clocks) someTime(there []commit) time.Time {
	k := choose(c.rnd, there...)
	around := choose(c.rnd, 0, -1, 1, -c.rnd.Int64N(1e8), c.rnd.Int64N(1e8))
	switch c.rnd.IntN(4) {
	case 0:
		return c.now
	case 1:
		return k.at.Add(time.Duration(around) * time.Millisecond)
	}
	return time.UnixMilli(k.time + around)
}

func (c *clocks) checkTime(m kept, there []commit, at time.Time) {
	c.Helper()
	var want commit
	for _, k := range there {
		if k.time <= at.UnixMilli() {
			want = k
		}
	}
	what := "to " + at.UTC().Format(time.RFC3339Nano)
	res, err := c.restore(driftdb.RestoreConfig{At: at})
	c.compare(what, m, there, want, res, err)
	// What the user means, where the clock allows it: the rows that there were then.
	truth := c.at(at)
	for _, k := range there {
		if k.sequence > truth.sequence && k.time <= at.UnixMilli() {
			return
		}
	}
	if truth.right && truth.sequence <= there[len(there)-1].sequence && err == nil && res.Sequence != truth.sequence {
		c.fatal("%s: restored change %d, and the clock was right: %d was the last", what, res.Sequence, truth.sequence)
	}
}

func (c *clocks) restore(cfg driftdb.RestoreConfig) (driftdb.RestoreResult, error) {
	cfg.Name, cfg.Store, cfg.Overwrite = c.cfg.Name, c.store, true
	cfg.Path = filepath.Join(filepath.Dir(c.cfg.Path), "restored.sqlite")
	return driftdb.Restore(c.ctx, cfg)
}

// compare compares what was restored with the commit that it should end with.
func (c *clocks) compare(what string, m kept, there []commit, want commit, res driftdb.RestoreResult, err error) {
	c.Helper()
	switch can := m.reaches(there, want); {
	case !can && !errors.Is(err, driftdb.ErrNoBackup):
		c.fatal("%s: restored change %d, %v; change %d, of %+v, cannot be had", what, res.Sequence, err, want.sequence, m)
	case can && (err != nil || res.Sequence != want.sequence || res.Rows != want.rows || res.Time.UnixMilli() != want.time):
		c.fatal("%s: restored change %d with %d rows, of %s, %v; want %+v", what, res.Sequence, res.Rows, res.Time, err, want)
	}
}

// reaches says whether a point can be restored: from the first change or a snapshot, and
// across no barrier.
func (m kept) reaches(there []commit, want commit) bool {
	if want.sequence == 0 {
		return false
	}
	base, found := int64(0), m.Pruned == 0
	for _, s := range m.Snapshots {
		if s.Sequence <= want.sequence {
			base, found = s.Sequence, true
		}
	}
	for _, k := range there {
		if k.barrier && base < k.sequence && k.sequence <= want.sequence {
			return false
		}
	}
	return found
}

// goesOn lets the clocks be right for longer than the window: then nothing of what was
// before is left.
func (c *clocks) goesOn() {
	var first int64
	c.session(0, func(db *driftdb.DB) error {
		for range c.cfg.Retention/(25*time.Hour) + 12 {
			if err := errors.Join(c.insert(db), c.snapshot(db), c.collect(db)); err != nil {
				return err
			}
			if first == 0 {
				first = db.Sequence()
			}
			c.sleep(25 * time.Hour)
		}
		return nil
	})
	if m, err := c.manifest(); err != nil || m.Pruned < first {
		c.fatal("after %s with right clocks, what was before change %d is still kept: %+v, %v", c.cfg.Retention+12*25*time.Hour, first, m, err)
	}
	if c.own {
		return // what was stored with a clock that was ahead goes when that time has come
	}
	for _, key := range systemtest.Keys(c, c.store) {
		if strings.Contains(key, "/000000000001-") {
			c.fatal("%s is left", key)
		}
	}
}
