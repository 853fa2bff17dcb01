package inspect_test

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/inspect"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// counting is a store that counts what is read.
type counting struct {
	objstore.Store
	gets atomic.Int64
}

func (c *counting) Get(ctx context.Context, key string, o objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	c.gets.Add(1)
	return c.Store.Get(ctx, key, o)
}

// TestLogPage: however long a log is, a page of it reads a few objects; a search reads a
// part of it and says so. It prints how long each page takes. The long form has a million
// changes (make inspect).
func TestLogPage(t *testing.T) {
	n := systemtest.Setting(t, "DRIFTDB_LOG_ROWS", 100_000)
	if testing.Short() {
		n = 20_000
	}
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.OnEvent = func(driftdb.Event) {}
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE readings(id INTEGER PRIMARY KEY, sensor TEXT, value REAL, note TEXT); CREATE TABLE rare(x)")
	systemtest.Exec(t, db, "INSERT INTO rare VALUES(1)")
	for done := 0; done < n; done += 1000 {
		systemtest.Exec(t, db, `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1000)
			INSERT INTO readings(sensor, value, note) SELECT 'sensor-' || n % 40, n * 1.5, 'reading number ' || n FROM c`)
		if done%5_000 == 0 {
			systemtest.Check(t, db.Flush(ctx))
		}
	}
	systemtest.Check(t, db.Flush(ctx))
	store := &counting{Store: cfg.Store}
	h, err := inspect.Store(driftdb.BackupConfig{Store: store}, inspect.Options{})
	s := serve(t, h, err)
	for _, p := range []struct {
		path string
		gets int64 // 0: as many as it takes
	}{
		{"/b/app/log", 4}, {"/b/app/log?to=10000", 8}, {"/b/app/log?from=9000", 8}, {"/b/app/log?table=readings", 8}, {"/b/app/log?table=rare", 0}, {"/b/app/log?op=delete", 0},
		{"/b/app/log?table=readings&key=77", 0}, {"/b/app/log?until=2001-01-01", 8}, {"/b/app/", 8}, {"/b/app/timeline?from=1&to=100", 8}, {"/b/app/tx/1", 8},
		{"/b/app/row?table=readings&key=77", 0}, {"/b/app/retention", 8}, {"/b/app/cost", 8}, {"/", 8},
	} {
		best := time.Hour
		gets := int64(0)
		for range 3 {
			before, began := store.gets.Load(), time.Now()
			if res, body := s.get(p.path); res.StatusCode != http.StatusOK {
				t.Errorf("%s: %s\n%s", p.path, res.Status, text(body))
			}
			best, gets = min(best, time.Since(began)), store.gets.Load()-before
		}
		t.Logf("%s: %s, %d objects", p.path, best.Round(time.Millisecond), gets)
		if p.gets > 0 && gets > p.gets {
			t.Errorf("%s reads %d objects, want %d at most", p.path, gets, p.gets)
		}
	}
}
