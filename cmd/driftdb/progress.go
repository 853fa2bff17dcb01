package main

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on a terminal. A nil one shows nothing.
type progress struct {
	bar   *progressbar.ProgressBar
	what  string
	total int64
}

// startProgress starts a bar if stderr is a terminal. A total of -1 means that
// it is not known.
func (a *app) startProgress(what string, total int64) *progress {
	if !a.terminal {
		return nil
	}
	bar := progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(a.stderr),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
	return &progress{bar, what, total}
}

// set shows that done of total has been done. A bar that cannot be drawn is no
// reason to fail.
func (p *progress) set(what string, done, total int64) {
	if p == nil {
		return
	}
	if total != p.total {
		p.total = total
		p.bar.Reset() // one that was full would show nothing any more
		p.bar.ChangeMax64(total)
	}
	if what != p.what {
		p.what = what
		p.bar.Describe(what)
	}
	if total > 0 {
		done = min(done, total)
	}
	_ = p.bar.Set64(done)
}

// stop takes the bar away.
func (p *progress) stop() {
	if p != nil {
		_ = p.bar.Finish()
	}
}
