// Package driftotel hands DriftDB's metrics to OpenTelemetry, and makes spans of what
// DriftDB does in the background: uploads, snapshots, restores, and rounds of syncing that
// failed.
//
//	o, err := driftotel.Observe(otel.GetMeterProvider(), driftotel.Options{}, driftotel.Source{Name: "app", DB: db})
//	…
//	defer o.Close()
//
// The metrics are those of driftprom, under OpenTelemetry's names: driftdb.oldest_pending_age
// in seconds is driftdb_oldest_pending_age_seconds there. docs/METRICS.md describes them.
// Spans are made of events, so [Spans] is set as Config.OnEvent before a database is opened.
package driftotel

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/telemetry"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// scope names what measures: the instrumentation scope of meters and tracers.
const scope = "github.com/driftdb/driftdb-go/driftotel"

// Source is a database, a follower, or both.
type Source struct {
	// Name is the value of the attribute database, with Options.PerDatabase. Sources of
	// the same name share their time series.
	Name string

	DB       *driftdb.DB       // nil: there is none
	Follower *driftdb.Follower // nil: there is none

	// Verified returns when the backup was last verified with success; the zero time says
	// never. It is called for each collection, and must not use the observer. Default: the
	// metric driftdb.last_verify_timestamp leaves this source out.
	Verified func() time.Time
}

// Options say what is observed, and how. The zero value means the defaults.
type Options struct {
	// PerDatabase gives each Source.Name its own time series, with the attribute database.
	// Default: one for all. Counters and sizes are added up, and of ages and lags there is
	// the largest.
	PerDatabase bool

	// Sources yields further sources. It is called for each collection, so it follows
	// databases that are opened and closed, and must not use the observer. Default: those
	// of Observe and Add only.
	Sources iter.Seq[Source]
}

// Observer observes databases until Close.
type Observer struct {
	each         bool
	board        *telemetry.Board
	kinds        []metric.Observable // of the metrics, in their order
	registration metric.Registration
}

// Observe has a meter of the provider observe the sources, those that Options.Sources
// yields, and those that are added later. A collection reads a little of the disk for each
// database, and uses no network. The error is one of the provider's.
func Observe(provider metric.MeterProvider, o Options, sources ...Source) (*Observer, error) {
	ob := &Observer{each: o.PerDatabase, board: telemetry.NewBoard(o.PerDatabase, telemetry.Sources(o.Sources, shared))}
	meter := provider.Meter(scope)
	for _, m := range telemetry.Metrics() {
		instrument, err := instrumentOf(meter, &m)
		if err != nil {
			return nil, fmt.Errorf("driftotel: create the instrument %s: %w", m.OpenTelemetry(), err)
		}
		ob.kinds = append(ob.kinds, instrument)
	}
	for _, s := range sources {
		ob.Add(s)
	}
	var err error
	if ob.registration, err = meter.RegisterCallback(ob.observe, ob.kinds...); err != nil {
		return nil, fmt.Errorf("driftotel: register with the meter: %w", err)
	}
	return ob, nil
}

// Add adds a source until remove is called. What it has counted by then stays in the
// counters, unless PerDatabase is set and it was the last source of its name.
func (o *Observer) Add(s Source) (remove func()) { return o.board.Add(shared(s)) }

// Close ends the observation. The databases stay as they are.
func (o *Observer) Close() error { return o.registration.Unregister() }

// instrumentOf creates the instrument of a metric. Counts are whole numbers.
func instrumentOf(meter metric.Meter, m *telemetry.Metric) (metric.Observable, error) {
	name, help, unit := m.OpenTelemetry(), metric.WithDescription(m.Help), metric.WithUnit(string(m.Unit))
	switch {
	case m.Kind == telemetry.Counter:
		return meter.Int64ObservableCounter(name, help, unit)
	case m.Unit == telemetry.Seconds:
		return meter.Float64ObservableGauge(name, help, unit)
	case m.Merge == telemetry.Sum: // those of several processes may be added
		return meter.Int64ObservableUpDownCounter(name, help, unit)
	}
	return meter.Int64ObservableGauge(name, help, unit)
}

// observe is called for each collection.
func (o *Observer) observe(_ context.Context, to metric.Observer) error {
	for _, group := range o.board.Read() {
		var with []metric.ObserveOption
		if o.each {
			with = append(with, metric.WithAttributes(attribute.String("database", group.Database)))
		}
		for i, value := range group.Values {
			if !value.Is {
				continue
			}
			switch instrument := o.kinds[i].(type) {
			case metric.Float64Observable:
				to.ObserveFloat64(instrument, value.Number, with...)
			case metric.Int64Observable:
				to.ObserveInt64(instrument, int64(value.Number), with...)
			}
		}
	}
	return nil
}

// shared is a source in the form that both metric modules share.
func shared(s Source) telemetry.Source { return telemetry.Source(s) }
