package terminal

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// Bar shows progress on a terminal. A nil one shows nothing.
type Bar struct {
	bar   *progressbar.ProgressBar
	what  string
	total int64
}

// Bar starts a bar if s is a terminal, and is nil otherwise. A total of -1 means that
// it is not known.
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

// Set shows that done of total has been done. A bar that cannot be drawn is no
// reason to fail.
func (b *Bar) Set(what string, done, total int64) {
	if b == nil {
		return
	}
	if total != b.total {
		b.total = total
		b.bar.Reset() // one that was full would show nothing any more
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

// Stop takes the bar away.
func (b *Bar) Stop() {
	if b != nil {
		_ = b.bar.Finish()
	}
}
