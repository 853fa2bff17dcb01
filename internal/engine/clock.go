package engine

import (
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
)

// Changes get the time that this machine's clock shows, right or wrong, and a restore
// to a time finds them by it. So whoever sees that the clock is behind what the log
// already has says so, once a session. The engine compares it with the store's.

// clock is what a session has said of this machine's clock.
type clock struct {
	told bool // that it is behind
}

// behind tells that now is earlier than the time of the change before.
func (c *clock) behind(log event.Log, now, before time.Time) {
	if c.told {
		return
	}
	c.told = true
	log.Warn(event.ClockBehind, "this machine's clock is behind the last change in the log: set it if it is wrong. A restore to a time goes by what the clock said, so name a point around this one by its sequence",
		"clock", now.UTC(), "change", before.UTC())
}

// check compares the clock with the changes when they are opened.
func (c *clock) check(log event.Log, changes *changelog.Log) error {
	last, err := changes.LastTime()
	if err != nil {
		return fmt.Errorf("read the time of the last change: %w", err)
	}
	if now, before := time.Now().Round(0), time.UnixMilli(last); before.Sub(now) > time.Second {
		c.behind(log, now, before)
	}
	return nil
}
