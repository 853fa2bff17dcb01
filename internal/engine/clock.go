package engine

import (
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
)

// Changes are stamped with the time of this machine's clock, right or wrong, and a restore
// to a time finds them by that stamp. So DriftDB warns, once a session, when the clock is
// behind the last change in the log. The syncer compares the clock with the store's.

// clock records which warnings about this machine's clock a session has given.
type clock struct {
	told bool // warned that the clock is behind
}

// behind warns that now is earlier than the time of the previous change.
func (c *clock) behind(log event.Log, now, before time.Time) {
	if c.told {
		return
	}
	c.told = true
	log.Warn(event.ClockBehind, "this machine's clock is behind the last change in the log: set it if it is wrong. A restore to a time goes by what the clock said, so name a point around this one by its sequence",
		"clock", now.UTC(), "change", before.UTC())
}

// check compares the clock with the last change when the log is opened.
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
