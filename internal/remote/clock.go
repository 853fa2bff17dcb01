package remote

import (
	"slices"
	"time"
)

// Clock is what a manifest remembers of the store's clock: times in Unix ms that this
// has said. How old something is, that clock says, not this machine's, which may be
// set to anything. It may be wrong as well, and nobody can tell a clock that has leapt
// from one that has stood by while nobody wrote. So none of its leaps is believed at
// once:
//
//   - A collection goes by a time that is a quarter of the window, or a day, later
//     than that of the one before at most. If the clock is far ahead, a part of the
//     window is given up, not all of it.
//   - What the clock said three collections ago is believed if it has not gone back
//     since. So a window whose program was off for a long time catches up.
//   - When the clock goes back, it was ahead before, or is behind now. What is stored
//     then counts as stored at the latest time that was known, so nothing is taken for
//     older than it is, until three collections have gone by the new time.
type Clock struct {
	At     int64   `json:"at"`             // the time that the last collection went by
	Said   []int64 `json:"said,omitempty"` // by the clock at the last collections since it went back, oldest first
	Latest int64   `json:"latest"`         // the latest that it has said …
	Back   bool    `json:"back,omitempty"` // … and that it says less now
}

const (
	// patience is how many collections later a time is believed.
	patience = 3
	// exact is how far the store's clock is trusted to agree with itself: servers
	// of one store differ by a little, and cut off what is less than a second.
	exact = time.Minute
)

// Observe lets m know that the store's clock says now. What m says of the last
// collection is put right if the clock was ahead then. Nothing is deleted for that.
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
		c.At = m.Snapshots[0].storedAt() // an older program has not said
	}
	if c.At == 0 || ahead(c.At) {
		c.At = ms
	}
	if m.PrunedAt == 0 || ahead(m.PrunedAt) {
		m.PrunedAt = ms
	}
}

// advance lets a collection begin, and returns the time that it goes by.
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

// storedAt is when a snapshot was stored, by the store's clock if that has said.
func (s Snapshot) storedAt() int64 {
	if s.Stored != 0 {
		return s.Stored
	}
	return s.Time
}
