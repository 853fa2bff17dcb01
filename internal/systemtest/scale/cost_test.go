package scale_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestCost: what a database costs that is written to at a steady rate. Each row is a
// transaction of its own. docs/COST.md has the figures. With DRIFTDB_COST each rate is
// measured over a longer time ("make economy").
func TestCost(t *testing.T) {
	long := systemtest.Setting(t, "DRIFTDB_COST", 0) > 0
	for _, rate := range []struct {
		every, short, long time.Duration
		puts               float64 // at most, in an hour
	}{
		{100 * time.Millisecond, 5 * time.Minute, time.Hour, 1100},
		{time.Second, 10 * time.Minute, 6 * time.Hour, 820},
		{time.Minute, 2 * time.Hour, 24 * time.Hour, 130},
		{time.Hour, 12 * time.Hour, 10 * 24 * time.Hour, 3},
	} {
		t.Run("a write every "+rate.every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lasts := rate.short
				if long {
					lasts = rate.long
				}
				cfg := systemtest.Config(t)
				store := objstoretest.Count(cfg.Store)
				cfg.Store, cfg.ManualSync = store, false
				cfg.Path = filepath.Join(systemtest.MemoryDir(t), "app.sqlite")
				db := systemtest.Open(t, cfg)
				people, err := driftdb.Define[visitor](t.Context(), db, "visitors")
				systemtest.Check(t, err)
				_, err = db.Snapshot(t.Context())
				systemtest.Check(t, err)
				time.Sleep(2 * time.Minute)
				store.Reset()
				for i := range int(lasts / rate.every) {
					_, err := people.Create(t.Context(), visitor{Name: fmt.Sprint("visitor ", i), Email: fmt.Sprintf("visitor%d@example.com", i)})
					systemtest.Check(t, err)
					time.Sleep(rate.every)
				}
				put, get, list, del := store.Tally(objstoretest.Put), store.Tally(objstoretest.Get), store.Tally(objstoretest.List), store.Tally(objstoretest.Delete)
				hours := lasts.Hours()
				t.Logf("an hour: %.1f PUT with %.1f KiB, %.1f GET, %.1f LIST, %.1f DELETE",
					float64(put.Calls)/hours, float64(put.Bytes)/1024/hours, float64(get.Calls)/hours, float64(list.Calls)/hours, float64(del.Calls)/hours)
				if perHour := float64(put.Calls) / hours; perHour > rate.puts {
					t.Errorf("%.1f PUTs an hour, want %.0f at most", perHour, rate.puts)
				}
			})
		})
	}
}
