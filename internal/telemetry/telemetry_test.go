package telemetry

import (
	"errors"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestEveryField: each field of the public metrics is in one of these, which changes with it.
func TestEveryField(t *testing.T) {
	t.Parallel()
	base := driftdb.Metrics{LatestSequence: 10 * int64(time.Hour), SyncedSequence: 1, PendingChanges: 1}
	everyField(t, base, func(now *driftdb.Metrics) row {
		return values(func(m *Metric) (float64, bool) { return m.ofDB.of(now) })
	})
	everyField(t, driftdb.FollowerMetrics{Confirmed: 5, Sequence: 2}, func(now *driftdb.FollowerMetrics) row {
		return values(func(m *Metric) (float64, bool) { return m.ofFollower.of(now) })
	})
}

func everyField[T any](t *testing.T, base T, read func(*T) row) {
	t.Helper()
	before := read(&base)
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		now := base
		change(t, reflect.ValueOf(&now).Elem().FieldByIndex(f.Index))
		// What is in the bucket is between the last change and the one that the manifest
		// names, which the counts of pending and unconfirmed changes show.
		if reflect.DeepEqual(read(&now), before) && f.Name != "SyncedSequence" {
			t.Errorf("%T.%s is in no metric", now, f.Name)
		}
	}
}

// change gives a field another value.
func change(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000, 0)))
	case error, nil:
		v.Set(reflect.ValueOf(errors.New("failed")))
	case []string:
		v.Set(reflect.ValueOf([]string{"a fault"}))
	case bool:
		v.SetBool(true)
	case int64, time.Duration:
		v.SetInt(v.Int() + int64(time.Hour))
	default:
		t.Fatalf("a field of the type %s", v.Type())
	}
}

// TestNames: no two metrics have the same name, neither here nor at Prometheus.
func TestNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, m := range Metrics() {
		for _, name := range []string{m.Prometheus(), m.OpenTelemetry()} {
			if seen[name] {
				t.Errorf("two metrics are called %s", name)
			}
			seen[name] = true
		}
		if !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(m.Name) || !strings.HasSuffix(m.Help, ".") {
			t.Errorf("%s: %q", m.Name, m.Help)
		}
		if m.Kind == Counter && m.Merge != Sum {
			t.Errorf("%s is a counter, and not added up", m.Name)
		}
	}
}

// TestMetricsAreNotShared: who changes what Metrics returns changes nothing else.
func TestMetricsAreNotShared(t *testing.T) {
	t.Parallel()
	Metrics()[0].Name = "x"
	if Metrics()[0].Name == "x" {
		t.Error("the list of metrics can be changed")
	}
}

// TestDocs: docs/METRICS.md has each metric, with its kind, and each alert, and no others.
func TestDocs(t *testing.T) {
	t.Parallel()
	root := systemtest.Must(systemtest.ModuleRoot())
	doc := string(systemtest.Must(os.ReadFile(root + "/docs/METRICS.md")))
	var want, got []string
	for _, m := range Metrics() {
		kind := "gauge"
		if m.Kind == Counter {
			kind = "counter"
		}
		want = append(want, m.Prometheus()+" "+kind+" "+[]string{"sum", "max", "min"}[m.Merge])
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(driftdb_\\w+)` \\| (\\w+) \\| (\\w+) \\|").FindAllStringSubmatch(doc, -1) {
		got = append(got, strings.Join(row[1:], " "))
	}
	compare(t, "metrics", got, want)
	rules := string(systemtest.Must(os.ReadFile(root + "/driftprom/alerts.yml")))
	want, got = nil, nil
	for _, m := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(rules, -1) {
		want = append(want, m[1])
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(DriftDB\\w+)` \\|").FindAllStringSubmatch(doc, -1) {
		got = append(got, row[1])
	}
	compare(t, "alerts", got, want)
	for _, name := range regexp.MustCompile(`DriftDB[A-Z]\w+`).FindAllString(doc, -1) {
		if !slices.Contains(want, name) {
			t.Errorf("there is no alert %s", name)
		}
	}
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("docs/METRICS.md lacks one of the %s: %s", what, name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("docs/METRICS.md has %d %s, want %d", len(got), what, len(want))
	}
}
