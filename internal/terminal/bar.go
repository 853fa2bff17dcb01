package terminal

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// Bar shows progress on a terminal: how much is done, how fast, and how long the rest will
// take. A nil Bar shows nothing.
type Bar struct {
	screen *Screen
	bar    *progressbar.ProgressBar // nil: nothing is drawn yet
	what   string
	unit   Unit
	total  int64
}

// Unit is what a Bar counts.
type Unit string

// Bytes are shown as KiB, MiB and so on. Any other unit is a plural.
const Bytes Unit = ""

// Bar starts a bar if s is a terminal, and returns nil otherwise. A total of -1 means that
// it is unknown.
func (s *Screen) Bar(what string, total int64) *Bar {
	if !s.terminal {
		return nil
	}
	b := &Bar{screen: s}
	b.begin(what, Bytes, total)
	return b
}

// begin draws a new bar: the rate of one stage says nothing about the next.
func (b *Bar) begin(what string, unit Unit, total int64) {
	if b.bar != nil {
		_ = b.bar.Finish()
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(b.screen.w),
		progressbar.OptionSetDescription(Escape(what)),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetSpinnerChangeInterval(0), // else a goroutine draws it, for which nobody waits
		progressbar.OptionShowCount(),
	}
	if unit == Bytes {
		options = append(options, progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true))
	} else {
		options = append(options, progressbar.OptionShowIts(), progressbar.OptionSetItsString(string(unit)))
	}
	if b.screen.Layout().Width < usualWidth {
		options = append(options, progressbar.OptionSetWidth(narrowest))
	} else { // the library asks no terminal behind a lock, and takes the usual width
		options = append(options, progressbar.OptionFullWidth())
	}
	b.bar, b.what, b.unit, b.total = progressbar.NewOptions64(total, options...), what, unit, total
}

// Set shows that done of total bytes are complete. It ignores errors, since a bar that
// cannot be drawn is no reason to fail.
func (b *Bar) Set(what string, done, total int64) { b.SetIn(Bytes, what, done, total) }

// SetIn is Set for another unit.
func (b *Bar) SetIn(unit Unit, what string, done, total int64) {
	if b == nil {
		return
	}
	switch {
	case unit != b.unit || (total < 0) != (b.total < 0):
		b.begin(what, unit, total)
	case total != b.total: // a bar that was full shows nothing more
		b.total = total
		b.bar.Reset()
		b.bar.ChangeMax64(total)
	}
	if what != b.what {
		b.what = what
		b.bar.Describe(Escape(what))
	}
	if total > 0 {
		done = min(done, total)
	}
	_ = b.bar.Set64(done)
}

// Stop removes the bar.
func (b *Bar) Stop() {
	if b != nil {
		_ = b.bar.Finish()
	}
}
