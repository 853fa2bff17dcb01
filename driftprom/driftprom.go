// Package driftprom hands the metrics of DriftDB databases and followers to Prometheus:
//
//	c := driftprom.NewCollector(driftprom.Options{}, driftprom.Source{Name: "app", DB: db})
//	prometheus.MustRegister(c)
//
// Without Options.PerDatabase there is one time series for each metric, however many
// databases there are: counters and sizes are added up, and of ages and lags there is the
// largest. So an alert on driftdb_oldest_pending_age_seconds covers all of them. With it,
// there is one for each name, in the label database.
//
// docs/METRICS.md describes each metric. The folder of this package has alert rules,
// alerts.yml, and a dashboard for Grafana, dashboard.json.
package driftprom

import (
	"iter"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/telemetry"
	"github.com/prometheus/client_golang/prometheus"
)

// Source is a database, a follower, or both.
type Source struct {
	// Name is the value of the label database, with Options.PerDatabase. Sources of the
	// same name share their time series.
	Name string

	DB       *driftdb.DB       // nil: there is none
	Follower *driftdb.Follower // nil: there is none

	// Verified returns when the backup was last verified with success; the zero time says
	// never. It is called for each scrape, and must not use the collector. Default: the
	// metric driftdb_last_verify_timestamp_seconds leaves this source out.
	Verified func() time.Time
}

// Options say what is collected, and how. The zero value means the defaults.
type Options struct {
	// PerDatabase gives each Source.Name its own time series, with the label database.
	// With thousands of databases that is too much for most Prometheus servers. Default:
	// one series for all.
	PerDatabase bool

	// Sources yields further sources. It is called for each scrape, so it follows
	// databases that are opened and closed. It must not use the collector. What a database
	// counts between its last scrape and its Close is not lost; one that is opened and
	// closed between two scrapes is not seen. Default: those of NewCollector and Add only.
	Sources iter.Seq[Source]
}

// Collector implements [prometheus.Collector]. Many goroutines can use it at the same time.
type Collector struct {
	each    bool
	board   *telemetry.Board
	metrics []telemetry.Metric
	descs   []*prometheus.Desc
}

// NewCollector returns a collector of the sources, of those that Options.Sources yields,
// and of those that are added later. A scrape reads a little of the disk for each
// database, and uses no network.
func NewCollector(o Options, sources ...Source) *Collector {
	c := &Collector{each: o.PerDatabase, board: telemetry.NewBoard(o.PerDatabase, telemetry.Sources(o.Sources, shared)), metrics: telemetry.Metrics()}
	var labels []string
	if o.PerDatabase {
		labels = []string{"database"}
	}
	for i := range c.metrics {
		c.descs = append(c.descs, prometheus.NewDesc(c.metrics[i].Prometheus(), c.metrics[i].Help, labels, nil))
	}
	for _, s := range sources {
		c.Add(s)
	}
	return c
}

// Add adds a source until remove is called. What it has counted by then stays in the
// counters, unless PerDatabase is set and it was the last source of its name. Remove a
// database before or after it is closed, as you like.
func (c *Collector) Add(s Source) (remove func()) { return c.board.Add(shared(s)) }

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, group := range c.board.Read() {
		var labels []string
		if c.each {
			labels = []string{group.Database}
		}
		for i, value := range group.Values {
			if !value.Is {
				continue
			}
			kind := prometheus.GaugeValue
			if c.metrics[i].Kind == telemetry.Counter {
				kind = prometheus.CounterValue
			}
			ch <- prometheus.MustNewConstMetric(c.descs[i], kind, value.Number, labels...)
		}
	}
}

// shared is a source in the form that both metric modules share.
func shared(s Source) telemetry.Source { return telemetry.Source(s) }
