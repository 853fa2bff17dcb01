// Package alerts_test evaluates the alert rules of driftprom with Prometheus's own parser
// and engine, over series that the collector makes.
package alerts_test

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/driftprom"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// length is how long the series are, a value a minute.
const length = 4 * 60

// alarm is when a rule must fire: when series have these values instead of healthy ones.
type alarm struct {
	fires map[string]string // values by the metric, as Prometheus writes them
	after time.Duration     // the rule's for, so that a change of it is meant
	quiet map[string]string // what looks alike, and is none
}

// from is 0 for the first hour, and then other values.
func from(value string) string { return "0x59 " + value }

var alarms = map[string]alarm{
	"DriftDBBackupOld": {
		fires: map[string]string{"driftdb_oldest_pending_age_seconds": from("0+60x180")}, after: 2 * time.Minute,
		quiet: map[string]string{"driftdb_oldest_pending_age_seconds": from("65x180")},
	},
	"DriftDBFenced":   {fires: map[string]string{"driftdb_databases_fenced": from("1x180")}},
	"DriftDBMismatch": {fires: map[string]string{"driftdb_digest_mismatches_total": from("1x180")}},
	"DriftDBFaults": {
		fires: map[string]string{"driftdb_faults": from("2x180")}, after: 10 * time.Minute,
		quiet: map[string]string{"driftdb_faults": "0x59 1x3 0x180"},
	},
	"DriftDBSyncFailing": {
		fires: map[string]string{"driftdb_databases_failing": from("1x180")}, after: 15 * time.Minute,
		quiet: map[string]string{"driftdb_databases_failing": "0x59 1x10 0x10 1x10 0x100"},
	},
	"DriftDBLogGrowing": {
		fires: map[string]string{"driftdb_log_size_bytes": from("60000000+1000000x180")}, after: 30 * time.Minute,
		quiet: map[string]string{"driftdb_log_size_bytes": "1000000000-1000x240"},
	},
	"DriftDBLongRead": {
		fires: map[string]string{"driftdb_oldest_read_seconds": from("0+60x180")}, after: 5 * time.Minute,
		quiet: map[string]string{"driftdb_oldest_read_seconds": from("590x180")},
	},
	"DriftDBLongRead (follower)": {fires: map[string]string{"driftdb_follower_oldest_read_seconds": from("0+60x180")}, after: 5 * time.Minute},
	"DriftDBWALLarge": {
		fires: map[string]string{"driftdb_wal_size_bytes": from("2000000000x180")}, after: 15 * time.Minute,
		quiet: map[string]string{"driftdb_wal_size_bytes": from("1000000000x180")},
	},
	"DriftDBWALLarge (follower)": {fires: map[string]string{"driftdb_follower_wal_size_bytes": from("2000000000x180")}, after: 15 * time.Minute},
	"DriftDBVerifyOverdue": { // the clock begins in 1970, so 0 is not long ago there
		fires: map[string]string{"driftdb_last_verify_timestamp_seconds": "-172000x240"}, after: time.Hour,
		quiet: map[string]string{"driftdb_last_verify_timestamp_seconds": "-86400x240"},
	},
	"DriftDBFollowerStalled": {fires: map[string]string{"driftdb_followers_stalled": from("1x180")}, after: 5 * time.Minute},
	"DriftDBFollowerLag": {
		fires: map[string]string{"driftdb_follower_lag_seconds": from("0+60x180")}, after: 5 * time.Minute,
		quiet: map[string]string{"driftdb_follower_lag_seconds": from("60x180")},
	},
	"DriftDBGone": {
		fires: map[string]string{"driftdb_databases": "1x59 _x180"}, after: 15 * time.Minute,
		quiet: map[string]string{"driftdb_databases": from("0x180")},
	},
}

// TestAlerts: each rule fires when it should, and not while all is well; with one series
// for all databases, and with one for each.
func TestAlerts(t *testing.T) {
	rules := parsed(t)
	for _, each := range []bool{false, true} {
		healthy := series(t, each)
		for name, rule := range rules {
			if _, there := alarms[name]; !there {
				t.Errorf("nothing tests %s", name)
			}
			if fires(t, rule, healthy, nil) {
				t.Errorf("%s fires although all is well", name)
			}
		}
		for name, a := range alarms {
			rule, there := rules[strings.TrimSuffix(name, " (follower)")]
			if !there {
				t.Errorf("there is no rule %s", name)
				continue
			}
			if time.Duration(rule.For) != a.after {
				t.Errorf("%s: for %s, want %s", name, rule.For, a.after)
			}
			for what := range maps.Keys(a.fires) {
				if healthy[what] == nil {
					t.Errorf("%s: the collector makes no series %s", name, what)
				}
			}
			if !fires(t, rule, healthy, a.fires) {
				t.Errorf("%s does not fire", name)
			}
			if fires(t, rule, healthy, a.quiet) {
				t.Errorf("%s fires at %v", name, a.quiet)
			}
		}
	}
}

// parsed returns the rules by name. Prometheus checks their expressions and templates.
func parsed(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	content, err := os.ReadFile("../../driftprom/alerts.yml")
	check(t, err)
	groups, errs := rulefmt.Parse(content, false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil {
		t.FailNow()
	}
	rules := map[string]rulefmt.Rule{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if rules[r.Alert] = r; r.Alert == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%q lacks a name, a severity, a summary or a description", r.Alert)
			}
		}
	}
	if len(rules) == 0 {
		t.Fatal("there are no rules")
	}
	return rules
}

// series are those of the collector for a database and its follower, both well: by
// metric, the series as Prometheus writes them, and their values.
func series(t *testing.T, each bool) map[string]map[string]float64 {
	t.Helper()
	c := driftprom.NewCollector(driftprom.Options{PerDatabase: each}, well(t))
	reg := prometheus.NewPedanticRegistry()
	check(t, reg.Register(c))
	families, err := reg.Gather()
	check(t, err)
	all := map[string]map[string]float64{}
	for _, f := range families {
		of := map[string]float64{}
		for _, m := range f.GetMetric() {
			labels := []string{`job="app"`, `instance="localhost:80"`}
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			of[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		all[f.GetName()] = of
	}
	return all
}

// well is a database that is in its bucket, with a follower that has caught up.
func well(t *testing.T) driftprom.Source {
	t.Helper()
	ctx, store := t.Context(), objstore.Mem()
	quiet := func(driftdb.Event) {}
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "app.sqlite"), Store: store, ManualSync: true, OnEvent: quiet})
	check(t, err)
	t.Cleanup(func() { db.Close() })
	_, err = db.Exec(ctx, "CREATE TABLE t(v)")
	check(t, err)
	check(t, db.Flush(ctx))
	b, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: "app", Store: store})
	check(t, err)
	f, err := b.Follow(ctx, filepath.Join(t.TempDir(), "f.sqlite"), driftdb.FollowConfig{OnEvent: quiet})
	check(t, err)
	t.Cleanup(func() { f.Close() })
	return driftprom.Source{Name: "app", DB: db, Follower: f, Verified: func() time.Time { return time.Unix(1, 0) }}
}

// fires reports whether a rule fires within four hours. instead has other values of some
// metrics, as Prometheus writes them: start+step, and how often.
func fires(t *testing.T, rule rulefmt.Rule, all map[string]map[string]float64, instead map[string]string) bool {
	t.Helper()
	load := "load 1m\n"
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for text, value := range all[name] {
			values := fmt.Sprintf("%fx%d", value, length)
			if changed, is := instead[name]; is {
				values = changed
			}
			load += fmt.Sprintf("  %s %s\n", text, values)
		}
	}
	storage := promqltest.LoadedStorage(t, load)
	defer storage.Close()
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	query, err := engine.NewRangeQuery(t.Context(), storage, nil, rule.Expr, time.Unix(0, 0), time.Unix(length*60, 0), time.Minute)
	check(t, err)
	defer query.Close()
	matrix, err := query.Exec(t.Context()).Matrix()
	check(t, err)
	return slices.ContainsFunc(matrix, func(s promql.Series) bool { return held(s, time.Duration(rule.For)) })
}

// held reports whether a series has had a value each minute for so long: then an alert of
// its labels is no longer pending, and fires.
func held(s promql.Series, long time.Duration) bool {
	begin, last := int64(-1), int64(-1)
	for _, p := range s.Floats {
		if begin < 0 || p.T-last > time.Minute.Milliseconds() {
			begin = p.T
		}
		last = p.T
		if time.Duration(p.T-begin)*time.Millisecond >= long {
			return true
		}
	}
	return false
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
