package faults_test

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

const years = 24 * 365 * 24 * time.Hour

// TestClockAhead: one change that is stamped hours or years ahead hides nothing of what
// is committed with a right clock before and after it.
func TestClockAhead(t *testing.T) {
	for _, ahead := range []time.Duration{23 * time.Hour, years} {
		t.Run(ahead.String(), func(t *testing.T) {
			c := newClocks(t, t.TempDir(), 0)
			inserts := func(n int) func(db *driftdb.DB) error {
				return func(db *driftdb.DB) (err error) {
					if len(c.commits) == 0 {
						err = c.create(db)
					}
					for range n {
						err = errors.Join(err, c.insert(db))
					}
					return errors.Join(err, c.flush(db))
				}
			}
			later := func() time.Time { c.now = c.now.Add(2 * time.Second); return c.now.Add(-time.Second) }
			c.session(0, inserts(2))
			before := later()
			c.session(ahead, inserts(1))
			after := later()
			c.session(0, inserts(3))
			middle := later()
			c.session(0, inserts(3))
			for at, want := range map[time.Time][2]int64{
				before: {3, 2}, after: {3, 2}, middle: {7, 6}, c.now: {10, 9}, c.now.Add(2 * ahead): {10, 9}, {}: {10, 9},
			} {
				res, err := c.restore(driftdb.RestoreConfig{At: at})
				if err != nil || res.Sequence != want[0] || res.Rows != want[1] {
					t.Errorf("at %s: change %d with %d rows, %v; want change %d with %d", at, res.Sequence, res.Rows, err, want[0], want[1])
				}
			}
		})
	}
}

// TestClockAheadKeepsHistory: a clock that is 40 days ahead, for a moment or for a day,
// gives up nothing, be it this machine's alone or the store's as well; and what is old
// goes later.
func TestClockAheadKeepsHistory(t *testing.T) {
	for _, own := range []bool{false, true} {
		for _, stay := range []time.Duration{0, 25 * time.Hour} {
			t.Run(fmt.Sprintf("store %v, %s", own, stay), func(t *testing.T) {
				c := newClocks(t, t.TempDir(), 0)
				c.own, c.cfg.Retention = own, 30*24*time.Hour
				c.session(0, func(db *driftdb.DB) error { return errors.Join(c.create(db), c.insert(db), c.snapshot(db)) })
				c.now = c.now.Add(time.Second)
				right := c.now // and then comes a mistake
				c.now = c.now.Add(time.Second)
				c.session(0, func(db *driftdb.DB) error { return errors.Join(c.insert(db), c.snapshot(db)) })
				undo := func() {
					t.Helper()
					if res, err := c.restore(driftdb.RestoreConfig{At: right}); err != nil || res.Sequence != 2 {
						c.fatal("to what was before the mistake: change %d, %v", res.Sequence, err)
					}
				}
				c.session(40*24*time.Hour, func(db *driftdb.DB) error {
					err := errors.Join(c.insert(db), c.flush(db), c.collect(db))
					c.sleep(stay)
					return errors.Join(err, c.insert(db), c.flush(db), c.collect(db))
				})
				undo()
				c.now = c.now.Add(20 * 24 * time.Hour)
				c.session(0, func(db *driftdb.DB) error { return errors.Join(c.insert(db), c.snapshot(db), c.collect(db)) })
				undo()
				c.goesOn()
			})
		}
	}
}

// TestClockAheadMerged: batches that were merged while the store's clock was ahead are
// deleted a day after it is right again, not when that time has come.
func TestClockAheadMerged(t *testing.T) {
	c := newClocks(t, t.TempDir(), 0)
	c.own, c.cfg.MaxBatchSize = true, 1
	c.session(years, func(db *driftdb.DB) error {
		err := c.create(db)
		for range 70 {
			err = errors.Join(err, c.insert(db))
		}
		return errors.Join(err, c.flush(db), c.insert(db), c.flush(db))
	})
	if n := len(systemtest.Batches(t, c.store)); n < 72 {
		t.Fatalf("%d batches; nothing was merged", n)
	}
	c.session(0, func(db *driftdb.DB) error {
		err := errors.Join(c.insert(db), c.flush(db))
		if n := len(systemtest.Batches(t, c.store)); n < 72 {
			t.Errorf("%d batches are left at once", n)
		}
		c.sleep(25 * time.Hour)
		return errors.Join(err, c.insert(db), c.flush(db))
	})
	if n := len(systemtest.Batches(t, c.store)); n > 20 {
		t.Errorf("%d batches are left a day later", n)
	}
	c.check(5)
}

// TestClockBehind: a machine whose clock is decades behind takes a history over. It
// says so once, its changes have the times that its clock shows, and come after what was
// there before.
func TestClockBehind(t *testing.T) {
	c := newClocks(t, t.TempDir(), 0)
	c.session(0, func(db *driftdb.DB) error { return errors.Join(c.create(db), c.insert(db), c.flush(db)) })
	if len(c.told) != 0 {
		t.Errorf("with a right clock: %v", c.told)
	}
	c.cfg.Path += "-2"
	c.now = c.now.Add(time.Hour)
	behind := func(db *driftdb.DB) error {
		return errors.Join(c.insert(db), c.snapshot(db), c.insert(db), c.flush(db))
	}
	c.session(-years, behind)
	c.wantTold(driftdb.EventClockBehind, c.now.Add(-years), c.now.Add(-time.Hour), "change")
	c.wantTold(driftdb.EventClockDiffers, c.now.Add(-years), c.now, "store")
	if len(c.told) != 0 {
		t.Errorf("said more than once: %v", c.told)
	}
	for _, k := range c.commits[2:] {
		if at := lastTime(t, c.cfg, k.sequence); at.UnixMilli() != k.time || k.right {
			t.Errorf("change %d is of %s, and was committed at %s", k.sequence, at, time.UnixMilli(k.time))
		}
	}
	c.check(20)
}

// wantTold wants an event of a clock, the first of those that are left, to name both
// times: this machine's, and another one.
func (c *clocks) wantTold(what driftdb.EventKind, machine, other time.Time, name string) {
	c.Helper()
	if len(c.told) == 0 {
		c.fatal("nobody was told: %s", what)
	}
	e := c.told[0]
	c.told = c.told[1:]
	clock, _ := e.Attrs["clock"].(time.Time)
	said, _ := e.Attrs[name].(time.Time)
	if e.Kind != what || e.Level != slog.LevelWarn || clock.Sub(machine).Abs() > time.Second || said.Sub(other).Abs() > time.Second {
		c.fatal("told %+v; want %q, clock %s, %s %s", e, what, machine, name, other)
	}
}

// TestClockSetBack: a clock that is set back while the database is open is told of, once.
func TestClockSetBack(t *testing.T) {
	cfg := systemtest.Config(t)
	var told []driftdb.Event
	cfg.OnEvent = func(e driftdb.Event) {
		if e.Scope == driftdb.ScopeClock {
			told = append(told, e)
		}
	}
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 2)
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	synctest.Test(t, func(t *testing.T) { // here it is the year 2000
		systemtest.Some(t, db, "t", 3)
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 {
		t.Fatalf("told %v", told)
	}
	clock, last := told[0].Attrs["clock"].(time.Time), told[0].Attrs["change"].(time.Time)
	if clock.Year() != 2000 || before.Sub(last).Abs() > time.Minute {
		t.Errorf("told %+v", told[0])
	}
}

// TestClockSkew: the store's clock may differ by some minutes.
func TestClockSkew(t *testing.T) {
	for by, want := range map[time.Duration]int{4 * time.Minute: 0, -4 * time.Minute: 0, 6 * time.Minute: 1, -6 * time.Minute: 1} {
		c := newClocks(t, t.TempDir(), 0)
		c.session(by, func(db *driftdb.DB) error {
			return errors.Join(c.create(db), c.flush(db), c.insert(db), c.flush(db), c.insert(db), c.flush(db))
		})
		if len(c.told) != want {
			t.Errorf("a clock that is wrong by %s: told %v", by, c.told)
		}
	}
}

// lastTime is that of a change, as the backup has it.
func lastTime(t *testing.T, cfg driftdb.Config, sequence int64) time.Time {
	t.Helper()
	for c, err := range systemtest.ChangesOf(t.Context(), driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store}, driftdb.ChangeQuery{From: sequence}) {
		if err != nil {
			t.Fatal(err)
		}
		return c.Time
	}
	t.Fatalf("no change %d", sequence)
	return time.Time{}
}
