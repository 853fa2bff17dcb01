package syncer

import (
	"github.com/driftdb/driftdb-go/internal/event"
	"time"
)

// Times of changes are those of this machine's clock, and are only looked for, never
// compared with another clock. How old something is, the store's clock says. How long
// something takes, the monotonic one.

// skew is how far this machine's clock may be away from the store's without a word.
const skew = 5 * time.Minute

// compareClocks tells, once a session, when this machine's clock and the store's
// differ.
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
