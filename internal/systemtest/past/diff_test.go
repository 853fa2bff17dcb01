package past_test

import (
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestDiffRequests: differences read the batches between the two points, and of what lies
// before and after them only those that show where the points are; no snapshot.
func TestDiffRequests(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	store := &counting{Store: cfg.Store, gets: map[string]int{}}
	cfg.Store = store
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	var points []int64 // the ends of batches, of which every tenth is a snapshot
	for i := range 40 {
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES(?), (?)", i, i)
		systemtest.Check(t, db.Flush(ctx))
		if i%10 == 9 {
			systemtest.Must(db.Snapshot(ctx))
		}
		points = append(points, db.Sequence())
	}
	for _, c := range []struct{ from, to, batches int }{{12, 15, 3}, {15, 12, 3}, {5, 25, 20}, {30, 39, 9}} {
		store.take()
		n := 0
		for _, err := range db.Backup().Diff(ctx, driftdb.Point{Sequence: points[c.from]}, driftdb.Point{Sequence: points[c.to]}) {
			systemtest.Check(t, err)
			n++
		}
		gets, lists := store.take()
		logs := 0
		for key := range gets {
			switch {
			case strings.Contains(key, "/logs/"):
				logs++
			case !strings.Contains(key, "manifest"):
				t.Errorf("from batch %d to %d it reads %s", c.from, c.to, key)
			}
		}
		if n != 2*c.batches || logs > c.batches+3 || lists > 3 {
			t.Errorf("from batch %d to %d there are %d differences from %d batches and %d listings", c.from, c.to, n, logs, lists)
		}
	}
}
