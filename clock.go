package driftdb

import (
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
)

// Changes get the time that this machine's clock shows, right or wrong, and a restore
// to a time finds them by it. So whoever sees that the clock is behind what the log
// already has says so, once a session. The engine compares it with the store's.

// clock is what a session has said of this machine's clock.
type clock struct {
	told bool // that it is behind. Open's, and then the guard's
}

// clockBehind tells that now is earlier than the time of the change before.
func (db *DB) clockBehind(now, before time.Time) {
	if db.clock.told {
		return
	}
	db.clock.told = true
	db.log.Warn(event.ClockBehind, "this machine's clock is behind the last change in the log: set it if it is wrong. A restore to a time goes by what the clock said, so name a point around this one by its sequence",
		"clock", now.UTC(), "change", before.UTC())
}

// checkClock compares the clock with the log when that is opened.
func (db *DB) checkClock() error {
	last, err := db.logs.LastTime()
	if err != nil {
		return fmt.Errorf("read the time of the last change: %w", err)
	}
	if now, before := time.Now().Round(0), time.UnixMilli(last); before.Sub(now) > time.Second {
		db.clockBehind(now, before)
	}
	return nil
}

// reportClock tells that the clock was set back between two commits.
func (db *DB) reportClock() {
	if s := db.hub.Setback(); s != nil {
		db.clockBehind(time.UnixMilli(s.Time), time.UnixMilli(s.Before))
	}
}
