package follow

import "time"

const (
	// idle is how often the store is asked while nothing comes, or while it tells by itself
	// when something does: then a message that was lost costs no more than that.
	idle = time.Minute
	// eager is how soon the store is asked again for somebody who waits. The interval
	// doubles from there.
	eager = 100 * time.Millisecond
)

// pace decides when the store is asked next.
type pace struct {
	interval time.Duration // while something comes
	slow     time.Duration // the interval while nothing comes, or everything fails
	fast     time.Duration // the interval while somebody waits
}

func newPace(interval time.Duration) *pace {
	return &pace{interval: interval, slow: interval, fast: min(eager, interval)}
}

// came is called after a round that found something.
func (p *pace) came() { p.slow = p.interval }

// nothing is called after a round that found nothing, or failed.
func (p *pace) nothing() { p.slow = min(2*p.slow, max(idle, p.interval)) }

// asked is called when somebody begins to wait.
func (p *pace) asked() { p.fast = min(eager, p.interval) }

// next is the time until the next round. told: the store tells when something comes; awaited:
// somebody waits for a change.
func (p *pace) next(told, awaited bool) time.Duration {
	after := p.slow
	if told {
		after = max(idle, p.interval)
	}
	if awaited {
		after = min(after, p.fast)
		p.fast = min(2*p.fast, p.interval)
	}
	return after
}
