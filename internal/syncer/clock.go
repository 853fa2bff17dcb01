package syncer

import (
	"github.com/driftdb/driftdb-go/internal/event"
	"time"
)

// Changes are timed by this machine's clock. Those times are only searched for, never
// compared with another clock. Ages are measured by the store's clock, durations by the
// monotonic clock.

// skew is how far this machine's clock may differ from the store's without a warning.
const skew = 5 * time.Minute

// compareClocks warns, once a session, if this machine's clock and the store's differ.
func (e *epoch) compareClocks() {
	store, machine, known := e.manifest.Clocks()
	ahead := machine.Sub(store)
	if !known || e.skewed || ahead.Abs() <= skew {
		return
	}
	e.skewed = true
	e.cfg.Logger.Warn(event.ClockDiffers, "this machine's clock and the store's differ: set the one that is wrong. Changes and restores to a time use this machine's clock, Retention uses the store's",
		"clock", machine.UTC(), "store", store.UTC(), "ahead", ahead)
}
