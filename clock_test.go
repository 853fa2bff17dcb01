package driftdb_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
)

// TestClockBehind: a machine whose clock is behind goes on with a history. Its
// changes and snapshots are not of an earlier time than what was before
// them, so whoever restores to a time gets what there was then.
func TestClockBehind(t *testing.T) {
	ctx := t.Context()
	cfg := config(t)
	first, err := driftdb.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	some(t, first, "t", 3)
	if err := first.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	last := lastTime(t, cfg, 4)
	synctest.Test(t, func(t *testing.T) { // here it is the year 2000
		second, err := driftdb.Open(t.Context(), elsewhere(t, cfg))
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		if now := time.Now(); now.After(last) {
			t.Fatalf("it is %s", now)
		}
		if _, err := second.Snapshot(t.Context()); err != nil { // of nothing new
			t.Fatal(err)
		}
		exec(t, second, "INSERT INTO t(v) VALUES('by the second')")
		if _, err := second.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	if at := lastTime(t, cfg, 5); at.Before(last) {
		t.Errorf("change 5 is of %s, change 4 of %s", at, last)
	}
	for _, s := range backup(t, cfg).Snapshots {
		if s.Time.Before(lastTime(t, cfg, s.Sequence)) {
			t.Errorf("the snapshot of change %d is of %s, and the change of %s", s.Sequence, s.Time, lastTime(t, cfg, s.Sequence))
		}
	}
}

// lastTime is that of a change, as the backup has it.
func lastTime(t *testing.T, cfg driftdb.Config, sequence int64) time.Time {
	t.Helper()
	for c, err := range driftdb.History(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store}, sequence) {
		if err != nil {
			t.Fatal(err)
		}
		return c.Time
	}
	t.Fatalf("no change %d", sequence)
	return time.Time{}
}
