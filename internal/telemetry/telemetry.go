// Package telemetry knows which metrics there are: their names, units and meanings, where
// in [driftdb.Metrics] each comes from, and how those of many databases become one number.
// The modules driftprom and driftotel hand them to Prometheus and to OpenTelemetry, under
// the same names.
package telemetry

import (
	"iter"
	"time"

	"github.com/driftdb/driftdb-go"
)

// Source is a database or a follower.
type Source struct {
	Name     string            // of the database, for those that tell databases apart
	DB       *driftdb.DB       // nil: there is none
	Follower *driftdb.Follower // nil: there is none

	// Verified returns when the backup was last verified with success, or the zero time
	// for never. nil: nobody keeps a record of it here.
	Verified func() time.Time
}

// Sources returns sources of a module's own type as those of this one. nil: there are none.
func Sources[S any](own iter.Seq[S], as func(S) Source) iter.Seq[Source] {
	if own == nil {
		return nil
	}
	return func(yield func(Source) bool) {
		own(func(s S) bool { return yield(as(s)) })
	}
}

// Kind says what may become of a metric's values.
type Kind int

// The kinds.
const (
	Gauge   Kind = iota // goes up and down
	Counter             // only grows
)

// Unit is the unit of a metric. Its text is that of UCUM, which OpenTelemetry uses.
type Unit string

// The units. Those in braces count something.
const (
	Bytes     Unit = "By"
	Seconds   Unit = "s"
	Unixtime  Unit = "s" // since 1970-01-01; the metric's name ends in timestamp
	Changes   Unit = "{change}"
	Rounds    Unit = "{round}"
	Commits   Unit = "{commit}"
	Requests  Unit = "{request}"
	Snapshots Unit = "{snapshot}"
	Faults    Unit = "{fault}"
	Databases Unit = "{database}"
	Batches   Unit = "{batch}"
	Times     Unit = "{time}"
)

// Merge says how the values of several databases become one. Counters are always added.
type Merge int

// How values are merged.
const (
	Sum Merge = iota
	Max
	Min
)

// Metric is one metric.
type Metric struct {
	Name  string // without a prefix, a unit and _total, such as oldest_pending_age
	Help  string
	Kind  Kind
	Unit  Unit
	Merge Merge

	always bool // 0 if there is no source at all

	// One of these returns the metric's value.
	ofDB       from[driftdb.Metrics]
	ofFollower from[driftdb.FollowerMetrics]
	ofSource   from[Source]
}

// from returns a value out of a T, and whether there is one. nil: there never is.
type from[T any] func(*T) (float64, bool)

func (f from[T]) of(t *T) (float64, bool) {
	if f == nil {
		return 0, false
	}
	return f(t)
}

// Prometheus returns the name as Prometheus wants it. OpenTelemetry's exporter for
// Prometheus makes the same of OpenTelemetry's name.
func (m *Metric) Prometheus() string {
	name := "driftdb_" + m.Name
	switch m.Unit {
	case Bytes:
		name += "_bytes"
	case Seconds:
		name += "_seconds"
	}
	if m.Kind == Counter {
		name += "_total"
	}
	return name
}

// OpenTelemetry returns the name as OpenTelemetry wants it.
func (m *Metric) OpenTelemetry() string { return "driftdb." + m.Name }

// number and the functions below make the values of fields that always have one.
func number[T any](of func(*T) int64) from[T] {
	return func(m *T) (float64, bool) { return float64(of(m)), true }
}

func age[T any](of func(*T) time.Duration) from[T] {
	return func(m *T) (float64, bool) { return of(m).Seconds(), true }
}

// one is 1 for a database of which something is so, so that the sum counts them.
func one[T any](of func(*T) bool) from[T] {
	return func(m *T) (float64, bool) {
		if of(m) {
			return 1, true
		}
		return 0, true
	}
}

// moment has no value if there was none.
func moment[T any](of func(*T) time.Time) from[T] {
	return func(m *T) (float64, bool) {
		at := of(m)
		return float64(at.UnixMilli()) / 1000, !at.IsZero()
	}
}
