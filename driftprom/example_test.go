package driftprom_test

import (
	"iter"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/driftprom"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

var db *driftdb.DB // that of the examples, which are compiled, and not run

// tenants are the databases of the example.
var tenants interface {
	Open() iter.Seq2[string, *driftdb.DB]
}

func ExampleNewCollector() {
	c := driftprom.NewCollector(driftprom.Options{}, driftprom.Source{Name: "app", DB: db})
	prometheus.MustRegister(c)
	http.Handle("/metrics", promhttp.Handler())
}

func ExampleOptions_sources() {
	c := driftprom.NewCollector(driftprom.Options{Sources: func(yield func(driftprom.Source) bool) {
		for name, db := range tenants.Open() {
			if !yield(driftprom.Source{Name: name, DB: db}) {
				return
			}
		}
	}})
	prometheus.MustRegister(c)
}

func ExampleSource_verified() {
	var verified atomic.Pointer[time.Time]
	c := driftprom.NewCollector(driftprom.Options{}, driftprom.Source{Name: "app", Verified: func() (at time.Time) {
		if p := verified.Load(); p != nil {
			at = *p
		}
		return at
	}})
	prometheus.MustRegister(c)
}
