package remote

import (
	"slices"
	"time"
)

// Clock is what a manifest remembers of the store's clock, as times in Unix ms. The age
// of an object is measured by that clock, not by this machine's, which may be set to
// anything. The store's clock may be wrong as well, and a clock that has leapt cannot be
// told from one that ran on while no writer was active. So no leap is believed at once:
//
//   - A collection uses a time that is at most a quarter of the window, or a day if that
//     is more, later than the previous collection's. If the clock is far ahead, only part
//     of the window is lost.
//   - A time that the clock gave three collections ago is believed if the clock has not
//     gone back since. So the window catches up after a program was off for a long time.
//   - If the clock goes back, it either was ahead before or is behind now. Until three
//     collections have used the new time, anything stored counts as stored at the latest
//     time known, so nothing is taken for older than it is.
type Clock struct {
	At     int64   `json:"at"`             // the time that the last collection used
	Said   []int64 `json:"said,omitempty"` // clock times at the last collections since it went back, oldest first
	Latest int64   `json:"latest"`         // the latest time that the clock gave …
	Back   bool    `json:"back,omitempty"` // … and whether it now gives an earlier one
}

const (
	// patience is after how many further collections a time is believed.
	patience = 3
	// exact is how closely the store's clock is trusted to agree with itself: the
	// servers of one store differ a little, and truncate to whole seconds.
	exact = time.Minute
)

// Observe records that the store's clock gives the time now. If the clock was ahead at
// the last collection, Observe corrects what m says of that. It deletes nothing.
func (m *Manifest) Observe(now time.Time) {
	c, ms, latest := &m.Clock, now.UnixMilli(), now.Add(exact).UnixMilli()
	ahead := func(t int64) bool { return t > latest }
	back := ahead(c.Latest)
	if back && !c.Back || ahead(c.At) || ahead(m.PrunedAt) || slices.ContainsFunc(c.Said, ahead) {
		c.Said = nil
	}
	c.Back = back && len(c.Said) < patience
	if !c.Back {
		c.Latest = ms
	}
	if c.At == 0 && len(m.Snapshots) > 0 {
		c.At = m.Snapshots[0].storedAt() // an older program did not record it
	}
	if c.At == 0 || ahead(c.At) {
		c.At = ms
	}
	if m.PrunedAt == 0 || ahead(m.PrunedAt) {
		m.PrunedAt = ms
	}
}

// advance begins a collection and returns the time that it uses.
func (m *Manifest) advance(now time.Time, window time.Duration) time.Time {
	m.Observe(now)
	c, ms := &m.Clock, now.UnixMilli()
	believed := c.At
	if n := len(c.Said); n >= patience {
		believed = max(believed, c.Said[n-patience])
	}
	c.At = min(ms, believed+max(window/4, Grace).Milliseconds())
	c.Said = append(c.Said, ms)
	c.Said = c.Said[max(0, len(c.Said)-patience):]
	m.PrunedAt = ms
	return time.UnixMilli(c.At)
}

// storedAt is when a snapshot was stored, by the store's clock if known.
func (s Snapshot) storedAt() int64 {
	if s.Stored != 0 {
		return s.Stored
	}
	return s.Time
}
