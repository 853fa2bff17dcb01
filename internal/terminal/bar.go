package terminal

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// Bar shows progress on a terminal. A nil Bar shows nothing.
type Bar struct {
	bar   *progressbar.ProgressBar
	what  string
	total int64
}

// Bar starts a bar if s is a terminal, and returns nil otherwise. A total of -1 means that
// it is unknown.
func (s *Screen) Bar(what string, total int64) *Bar {
	if !s.terminal {
		return nil
	}
	bar := progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(s.w),
		progressbar.OptionSetDescription(Escape(what)),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
	return &Bar{bar, what, total}
}

// Set shows that done of total is complete. It ignores errors, since a bar that cannot be
// drawn is no reason to fail.
func (b *Bar) Set(what string, done, total int64) {
	if b == nil {
		return
	}
	if total != b.total {
		b.total = total
		b.bar.Reset() // a bar that was full shows nothing more
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
