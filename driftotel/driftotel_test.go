package driftotel_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/driftotel"
	"github.com/driftdb/driftdb-go/internal/telemetry"
	"github.com/driftdb/driftdb-go/objstore"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a database whose file and store are in folders of the test.
func open(t testing.TB, name string, change ...func(*driftdb.Config)) *driftdb.DB {
	t.Helper()
	cfg := driftdb.Config{Name: name, Path: filepath.Join(t.TempDir(), name+".sqlite"), Store: objstore.Mem(), ManualSync: true, OnEvent: func(driftdb.Event) {}}
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

// collect returns the values of all metrics by name and database, and their kinds and units.
func collect(t testing.TB, r metric.Reader) (values map[string]float64, kinds map[string]string) {
	t.Helper()
	var all metricdata.ResourceMetrics
	check(t, r.Collect(t.Context(), &all))
	values, kinds = map[string]float64{}, map[string]string{}
	put := func(m metricdata.Metrics, kind string, attrs attribute.Set, value float64) {
		kinds[m.Name] = kind + " " + m.Unit
		name := m.Name
		if v, is := attrs.Value("database"); is {
			name += " of " + v.AsString()
		}
		values[name] = value
	}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				kind := "updowncounter"
				if data.IsMonotonic {
					kind = "counter"
				}
				for _, p := range data.DataPoints {
					put(m, kind, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					put(m, "gauge", p.Attributes, p.Value)
				}
			default:
				t.Errorf("%s is %T", m.Name, data)
			}
		}
	}
	return values, kinds
}

func want(t testing.TB, got, all map[string]float64) {
	t.Helper()
	for name, value := range all {
		if v, ok := got[name]; !ok || v != value {
			t.Errorf("%s is %v (there: %t), want %v", name, v, ok, value)
		}
	}
}

// TestMetrics: sums and kinds are right, sources come and go, and nothing is observed
// after Close.
func TestMetrics(t *testing.T) {
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	a, b := open(t, "a"), open(t, "b")
	check(t, a.Flush(t.Context()))
	o, err := driftotel.Observe(provider, driftotel.Options{Sources: slices.Values([]driftotel.Source{{DB: b}})}, driftotel.Source{DB: a, Verified: func() time.Time { return time.Unix(1000, 0) }})
	check(t, err)
	got, kinds := collect(t, reader)
	want(t, got, map[string]float64{
		"driftdb.databases": 2, "driftdb.pending_changes": 1, "driftdb.synced_changes": 1, "driftdb.last_verify_timestamp": 1000, "driftdb.followers": 0,
		"driftdb.uploaded": float64(a.Metrics().BytesUploaded),
	})
	if got["driftdb.oldest_pending_age"] <= 0 {
		t.Error("nothing is pending")
	}
	for name, kind := range map[string]string{
		"driftdb.databases": "updowncounter {database}", "driftdb.synced_changes": "counter {change}", "driftdb.uploaded": "counter By",
		"driftdb.oldest_pending_age": "gauge s", "driftdb.last_verify_timestamp": "gauge s", "driftdb.size": "updowncounter By",
	} {
		if kinds[name] != kind {
			t.Errorf("%s is a %q, want %q", name, kinds[name], kind)
		}
	}
	c := open(t, "c")
	remove := o.Add(driftotel.Source{DB: c})
	check(t, c.Flush(t.Context()))
	got, _ = collect(t, reader)
	want(t, got, map[string]float64{"driftdb.databases": 3, "driftdb.synced_changes": 2})
	remove()
	got, _ = collect(t, reader)
	want(t, got, map[string]float64{"driftdb.databases": 2, "driftdb.synced_changes": 2})
	check(t, o.Close())
	if got, _ = collect(t, reader); len(got) > 0 {
		t.Errorf("after Close: %v", got)
	}
	check(t, a.Close()) // is as it was
}

// TestPerDatabase: each name has its own series, and followers have theirs.
func TestPerDatabase(t *testing.T) {
	reader := metric.NewManualReader()
	store := objstore.Mem()
	db := open(t, "app", func(cfg *driftdb.Config) { cfg.Store = store })
	check(t, db.Flush(t.Context()))
	backup, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{Name: "app", Store: store})
	check(t, err)
	f, err := backup.Follow(t.Context(), filepath.Join(t.TempDir(), "f.sqlite"), driftdb.FollowConfig{OnEvent: func(driftdb.Event) {}})
	check(t, err)
	defer f.Close()
	o, err := driftotel.Observe(metric.NewMeterProvider(metric.WithReader(reader)), driftotel.Options{PerDatabase: true},
		driftotel.Source{Name: "app", DB: db, Follower: f, Verified: time.Now}, driftotel.Source{Name: "\xff", DB: open(t, "b")})
	check(t, err)
	defer o.Close()
	got, kinds := collect(t, reader)
	want(t, got, map[string]float64{"driftdb.databases of app": 1, "driftdb.databases of \uFFFD": 1, "driftdb.followers of app": 1, "driftdb.synced_changes of app": 1})
	for _, m := range telemetry.Metrics() {
		if _, there := kinds[m.OpenTelemetry()]; !there && m.Name != "last_snapshot_timestamp" && m.Name != "follower_last_applied_timestamp" && m.Name != "follower_last_change_timestamp" {
			t.Errorf("nothing observes %s", m.OpenTelemetry())
		}
	}
}

// recorder returns a provider that keeps its spans in memory.
func recorder() (*trace.TracerProvider, *tracetest.InMemoryExporter) {
	spans := tracetest.NewInMemoryExporter()
	return trace.NewTracerProvider(trace.WithSyncer(spans)), spans
}

// named returns the first span of this name.
func named(t *testing.T, spans *tracetest.InMemoryExporter, name string) tracetest.SpanStub {
	t.Helper()
	all := spans.GetSpans()
	i := slices.IndexFunc(all, func(s tracetest.SpanStub) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no span %s: %v", name, all)
	}
	return all[i]
}

// TestSpans: an upload, a snapshot and a restore have spans that begin and end within what
// caused them, with the attributes of their events.
func TestSpans(t *testing.T) {
	provider, spans := recorder()
	store := objstore.Mem()
	traced := func(cfg *driftdb.Config) {
		cfg.Store, cfg.OnEvent = store, driftotel.Spans(provider, attribute.String("tenant", "t1"))
	}
	began := time.Now().Round(0) // events have the wall clock
	db := open(t, "app", traced)
	check(t, db.Flush(t.Context()))
	_, err := db.Snapshot(t.Context())
	check(t, err)
	check(t, db.Close())
	open(t, "app", traced, func(cfg *driftdb.Config) { cfg.AutoRestore = true })
	ended := time.Now().Round(0)
	for name, attrs := range map[string][]string{
		"driftdb.upload":   {"driftdb.from", "driftdb.to", "driftdb.bytes"},
		"driftdb.snapshot": {"driftdb.key", "driftdb.sequence", "driftdb.bytes"},
		"driftdb.restore":  {"driftdb.sequence", "driftdb.rows", "driftdb.bytes"},
	} {
		span := named(t, spans, name)
		if span.StartTime.Before(began) || !span.EndTime.After(span.StartTime) || span.EndTime.After(ended) {
			t.Errorf("%s is from %s to %s, all from %s to %s", name, span.StartTime, span.EndTime, began, ended)
		}
		if span.Parent.IsValid() || span.Status.Code != codes.Unset {
			t.Errorf("%s has the parent %v and the status %v", name, span.Parent, span.Status)
		}
		has := attribute.NewSet(span.Attributes...)
		for _, key := range append(attrs, "driftdb.event", "tenant") {
			if !has.HasValue(attribute.Key(key)) {
				t.Errorf("%s has no attribute %s: %v", name, key, span.Attributes)
			}
		}
	}
}

// broken is a store that fails.
type broken struct{ objstore.Store }

var errBroken = errors.New("the cable is cut")

func (broken) Put(context.Context, string, io.Reader, objstore.PutOptions) (objstore.Info, error) {
	return objstore.Info{}, errBroken
}

// TestFailedRound: a round that failed has a span with the error.
func TestFailedRound(t *testing.T) {
	provider, spans := recorder()
	db := open(t, "app", func(cfg *driftdb.Config) {
		cfg.Store, cfg.OnEvent, cfg.Retry.MaxRetries = broken{objstore.Mem()}, driftotel.Spans(provider), -1
	})
	if err := db.Flush(t.Context()); !errors.Is(err, errBroken) {
		t.Fatalf("Flush: %v", err)
	}
	span := named(t, spans, "driftdb.sync")
	if span.Status.Code != codes.Error || !span.EndTime.After(span.StartTime) || len(span.Events) != 1 || !strings.Contains(span.Events[0].Attributes[1].Value.AsString(), errBroken.Error()) {
		t.Errorf("the span is %+v", span)
	}
	if n := len(spans.GetSpans()); n != 1 {
		t.Errorf("%d spans, want 1: nothing was uploaded", n)
	}
}
