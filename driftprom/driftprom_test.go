package driftprom_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/driftprom"
	"github.com/driftdb/driftdb-go/internal/telemetry"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// folder returns a store in a new folder.
func folder(t testing.TB) objstore.Store {
	t.Helper()
	store, err := objstore.Dir(t.TempDir())
	check(t, err)
	return store
}

// open opens a database whose file and store are in folders of the test.
func open(t testing.TB, name string, change ...func(*driftdb.Config)) *driftdb.DB {
	t.Helper()
	cfg := driftdb.Config{Name: name, Path: filepath.Join(t.TempDir(), name+".sqlite"), Store: folder(t), ManualSync: true, OnEvent: func(driftdb.Event) {}}
	for _, c := range change {
		c(&cfg)
	}
	db, err := driftdb.Open(t.Context(), cfg)
	check(t, err)
	t.Cleanup(func() { db.Close() })
	_, err = db.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS t(v)")
	check(t, err)
	return db
}

// write commits n changes, one by one.
func write(t testing.TB, db *driftdb.DB, n int) {
	t.Helper()
	for i := range n {
		_, err := db.Exec(t.Context(), "INSERT INTO t VALUES(?)", i)
		check(t, err)
	}
}

func flush(t testing.TB, db *driftdb.DB) {
	t.Helper()
	check(t, db.Flush(t.Context()))
}

// gather returns the values of all series, by name and labels.
func gather(t testing.TB, c prometheus.Collector) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry() // notices series that come twice, or as another kind
	check(t, reg.Register(c))
	families, err := reg.Gather()
	check(t, err)
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += fmt.Sprintf("{%s=%q}", l.GetName(), l.GetValue())
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

// want compares some of the values.
func want(t testing.TB, got map[string]float64, all map[string]float64) {
	t.Helper()
	for name, value := range all {
		if v, ok := got[name]; !ok || v != value {
			t.Errorf("%s is %v (there: %t), want %v", name, v, ok, value)
		}
	}
}

// TestOne: the metrics of one database are those that it has itself.
func TestOne(t *testing.T) {
	db := open(t, "app")
	write(t, db, 3)
	c := driftprom.NewCollector(driftprom.Options{}, driftprom.Source{DB: db})
	before := gather(t, c)
	want(t, before, map[string]float64{
		"driftdb_databases": 1, "driftdb_pending_changes": 4, "driftdb_unconfirmed_changes": 4, "driftdb_synced_changes_total": 0,
		"driftdb_databases_syncing": 0, "driftdb_databases_failing": 0, "driftdb_databases_fenced": 0, "driftdb_followers": 0,
	})
	if before["driftdb_oldest_pending_age_seconds"] <= 0 {
		t.Error("nothing is pending")
	}
	if _, there := before["driftdb_last_sync_timestamp_seconds"]; there {
		t.Error("there is a time of the last upload before the first")
	}
	flush(t, db)
	m, after := db.Metrics(), gather(t, c)
	want(t, after, map[string]float64{
		"driftdb_pending_changes": 0, "driftdb_unconfirmed_changes": 0, "driftdb_oldest_pending_age_seconds": 0, "driftdb_synced_changes_total": 4,
		"driftdb_uploaded_bytes_total": float64(m.BytesUploaded), "driftdb_store_requests_total": float64(m.Requests),
		"driftdb_size_bytes": float64(m.DBSizeBytes), "driftdb_wal_size_bytes": float64(m.WALSizeBytes), "driftdb_log_size_bytes": float64(m.LogSizeBytes),
		"driftdb_last_sync_timestamp_seconds": float64(m.LastSyncAt.UnixMilli()) / 1000,
	})
}

// TestLint: Prometheus finds nothing wrong with names and help texts, and a series that is
// there is one that was described.
func TestLint(t *testing.T) {
	db, f := open(t, "app"), follower(t)
	write(t, db, 1)
	flush(t, db)
	for _, each := range []bool{false, true} {
		c := driftprom.NewCollector(driftprom.Options{PerDatabase: each}, driftprom.Source{Name: "app", DB: db, Follower: f, Verified: time.Now})
		problems, err := testutil.CollectAndLint(c)
		check(t, err)
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
		if n, all := testutil.CollectAndCount(c), len(telemetry.Metrics()); n < all-1 { // no snapshot was stored
			t.Errorf("%d series of %d metrics", n, all)
		}
	}
}

// TestMany: of many databases there are sums, and the largest of ages. With PerDatabase,
// each name has its own.
func TestMany(t *testing.T) {
	var sources []driftprom.Source
	for i := range 3 {
		db := open(t, fmt.Sprintf("db%d", i))
		write(t, db, i)
		sources = append(sources, driftprom.Source{Name: fmt.Sprintf("db%d", i), DB: db})
	}
	flush(t, sources[2].DB)
	sources = append(sources, sources[0]) // comes twice, counts once
	all := gather(t, driftprom.NewCollector(driftprom.Options{}, sources...))
	want(t, all, map[string]float64{"driftdb_databases": 3, "driftdb_pending_changes": 3, "driftdb_synced_changes_total": 3})
	oldest := max(sources[0].DB.Metrics().OldestPendingAge, sources[1].DB.Metrics().OldestPendingAge)
	if age := all["driftdb_oldest_pending_age_seconds"]; age <= 0 || age > oldest.Seconds() {
		t.Errorf("the oldest pending age is %v; that of the oldest database is %s by now", age, oldest)
	}
	each := gather(t, driftprom.NewCollector(driftprom.Options{PerDatabase: true, Sources: slices.Values(sources)}))
	want(t, each, map[string]float64{
		`driftdb_pending_changes{database="db0"}`: 1, `driftdb_pending_changes{database="db1"}`: 2, `driftdb_pending_changes{database="db2"}`: 0,
		`driftdb_synced_changes_total{database="db2"}`: 3, `driftdb_oldest_pending_age_seconds{database="db2"}`: 0,
	})
	var hostile []driftprom.Source
	for i, name := range []string{"a\"b\n\xff", "a\"b\n\xfe", "a\"b\n\uFFFD"} { // one label, and so one series
		hostile = append(hostile, driftprom.Source{Name: name, DB: sources[i].DB})
	}
	want(t, gather(t, driftprom.NewCollector(driftprom.Options{PerDatabase: true}, hostile...)), map[string]float64{`driftdb_databases{database="a\"b\n�"}`: 3})
}

// TestCountersNeverFall: not when a database is closed, removed, or opened again, and what
// it counted after the last scrape is not lost.
func TestCountersNeverFall(t *testing.T) {
	store := folder(t)
	path := filepath.Join(t.TempDir(), "a.sqlite")
	again := func(cfg *driftdb.Config) { cfg.Path, cfg.Store = path, store }
	var listed []driftprom.Source
	c := driftprom.NewCollector(driftprom.Options{Sources: func(yield func(driftprom.Source) bool) { slices.Values(listed)(yield) }})
	synced := func(n float64) {
		t.Helper()
		want(t, gather(t, c), map[string]float64{"driftdb_synced_changes_total": n})
	}
	if _, there := gather(t, c)["driftdb_synced_changes_total"]; there {
		t.Error("there is a counter without a database")
	}
	a := open(t, "a", again)
	listed = []driftprom.Source{{Name: "a", DB: a}}
	flush(t, a)
	synced(1)
	write(t, a, 2)
	flush(t, a) // after the last scrape
	check(t, a.Close())
	listed = nil
	synced(3)
	synced(3) // and once only
	want(t, gather(t, c), map[string]float64{"driftdb_databases": 0})
	a = open(t, "a", again)
	listed = []driftprom.Source{{Name: "a", DB: a}}
	synced(3)
	write(t, a, 1)
	flush(t, a)
	synced(4)
	b := open(t, "b")
	remove := c.Add(driftprom.Source{Name: "b", DB: b})
	flush(t, b)
	synced(5)
	remove()
	remove()
	check(t, b.Close())
	synced(5)
}

// TestComesBack: a database that is removed and added again counts once, and each group
// keeps what it had when a database changes its name.
func TestComesBack(t *testing.T) {
	db := open(t, "a")
	flush(t, db)
	c := driftprom.NewCollector(driftprom.Options{})
	for range 3 {
		remove := c.Add(driftprom.Source{DB: db})
		want(t, gather(t, c), map[string]float64{"driftdb_synced_changes_total": 1, "driftdb_databases": 1})
		remove()
		want(t, gather(t, c), map[string]float64{"driftdb_synced_changes_total": 1, "driftdb_databases": 0})
	}
	write(t, db, 1)
	flush(t, db) // while it is away
	c.Add(driftprom.Source{DB: db})
	want(t, gather(t, c), map[string]float64{"driftdb_synced_changes_total": 2})

	c = driftprom.NewCollector(driftprom.Options{PerDatabase: true}, driftprom.Source{Name: "x"}, driftprom.Source{Name: "y"})
	for _, name := range []string{"x", "y", "x"} {
		remove := c.Add(driftprom.Source{Name: name, DB: db})
		want(t, gather(t, c), map[string]float64{fmt.Sprintf("driftdb_synced_changes_total{database=%q}", name): 2})
		if name == "y" {
			want(t, gather(t, c), map[string]float64{`driftdb_synced_changes_total{database="x"}`: 2})
		}
		remove()
	}
}

// TestNameReturns: with PerDatabase, a name whose last database is gone has no series, and
// one that was opened again counts on.
func TestNameReturns(t *testing.T) {
	var listed []driftprom.Source
	var sources iter.Seq[driftprom.Source] = func(yield func(driftprom.Source) bool) { slices.Values(listed)(yield) }
	c := driftprom.NewCollector(driftprom.Options{PerDatabase: true, Sources: sources})
	first, second := open(t, "a"), open(t, "a")
	flush(t, first)
	flush(t, second)
	const synced = `driftdb_synced_changes_total{database="a"}`
	listed = []driftprom.Source{{Name: "a", DB: first}}
	want(t, gather(t, c), map[string]float64{synced: 1})
	listed = []driftprom.Source{{Name: "a", DB: second}}
	want(t, gather(t, c), map[string]float64{synced: 2})
	listed = nil
	if got := gather(t, c); len(got) > 0 {
		t.Errorf("without databases: %v", got)
	}
	listed = []driftprom.Source{{Name: "a", DB: second}}
	want(t, gather(t, c), map[string]float64{synced: 1})
}

// TestTrouble: what alerts are for is in the metrics.
func TestTrouble(t *testing.T) {
	store := folder(t)
	old := open(t, "app", func(cfg *driftdb.Config) { cfg.Store = store })
	c := driftprom.NewCollector(driftprom.Options{}, driftprom.Source{DB: old})
	flush(t, old)
	taker := open(t, "app", func(cfg *driftdb.Config) { cfg.Store, cfg.AutoRestore = store, true })
	write(t, taker, 1)
	flush(t, taker)
	write(t, old, 1)
	if err := old.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatalf("Flush: %v", err)
	}
	want(t, gather(t, c), map[string]float64{"driftdb_databases_fenced": 1, "driftdb_databases_failing": 1, "driftdb_sync_errors_total": 1})
}

// follower returns a follower that has caught up.
func follower(t testing.TB) *driftdb.Follower {
	t.Helper()
	store := folder(t)
	db := open(t, "followed", func(cfg *driftdb.Config) { cfg.Store = store })
	write(t, db, 2)
	flush(t, db)
	b, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{Name: "followed", Store: store})
	check(t, err)
	f, err := b.Follow(t.Context(), filepath.Join(t.TempDir(), "f.sqlite"), driftdb.FollowConfig{OnEvent: func(driftdb.Event) {}})
	check(t, err)
	t.Cleanup(func() { f.Close() })
	write(t, db, 1)
	flush(t, db)
	check(t, f.WaitFor(t.Context(), db.Sequence()))
	return f
}

func TestFollower(t *testing.T) {
	f := follower(t)
	c := driftprom.NewCollector(driftprom.Options{}, driftprom.Source{Follower: f})
	got := gather(t, c)
	want(t, got, map[string]float64{
		"driftdb_followers": 1, "driftdb_followers_failing": 0, "driftdb_followers_stalled": 0, "driftdb_follower_pending_changes": 0,
		"driftdb_follower_applied_changes_total": 1, "driftdb_follower_rebases_total": 0, "driftdb_databases": 0,
	})
	if got["driftdb_follower_polls_total"] == 0 || got["driftdb_follower_last_poll_timestamp_seconds"] < 1e9 || got["driftdb_follower_read_bytes_total"] == 0 {
		t.Errorf("it has not polled: %v", got)
	}
	if _, there := got["driftdb_pending_changes"]; there {
		t.Error("a follower has the metrics of a database that is written to")
	}
}

// TestVerified: of many backups, the one that was verified longest ago counts; 0 is never.
func TestVerified(t *testing.T) {
	at := func(unix int64) func() time.Time { return func() time.Time { return time.Unix(unix, 0) } }
	never := func() time.Time { return time.Time{} }
	const name = "driftdb_last_verify_timestamp_seconds"
	c := driftprom.NewCollector(driftprom.Options{}, driftprom.Source{Name: "a", Verified: at(2000)}, driftprom.Source{Name: "b", Verified: at(1000)}, driftprom.Source{Name: "c"})
	want(t, gather(t, c), map[string]float64{name: 1000})
	c.Add(driftprom.Source{Verified: never})
	want(t, gather(t, c), map[string]float64{name: 0})
	if _, there := gather(t, driftprom.NewCollector(driftprom.Options{}, driftprom.Source{}))[name]; there {
		t.Error("there is a time although nobody keeps a record")
	}
}

// TestAtOnce: scrapes, writes, and databases that come and go at the same time.
func TestAtOnce(t *testing.T) {
	c := driftprom.NewCollector(driftprom.Options{})
	var done sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for i := range 2 {
		db := open(t, fmt.Sprintf("db%d", i), func(cfg *driftdb.Config) { cfg.Store = objstore.Mem() })
		done.Go(func() {
			for ctx.Err() == nil {
				remove := c.Add(driftprom.Source{DB: db})
				write(t, db, 1)
				flush(t, db)
				remove()
			}
		})
	}
	last := 0.0
	for range 30 {
		now := gather(t, c)["driftdb_synced_changes_total"]
		if now < last {
			t.Errorf("the counter fell from %v to %v", last, now)
		}
		last = now
	}
	stop()
	done.Wait()
}

// TestScrape is what Prometheus gets: text, with help and type.
func TestScrape(t *testing.T) {
	db := open(t, "app")
	c := driftprom.NewCollector(driftprom.Options{}, driftprom.Source{DB: db})
	check(t, testutil.CollectAndCompare(c, strings.NewReader(`# HELP driftdb_pending_changes Changes that are committed, and not in the bucket.
# TYPE driftdb_pending_changes gauge
driftdb_pending_changes 1
`), "driftdb_pending_changes"))
}
