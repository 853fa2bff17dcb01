package follow

import (
	"context"
	"sync"
	"time"
)

// stall is how long a round, or rounds that fail one after the other, may go on without any
// progress.
const stall = time.Minute

// watchdog notices that nothing goes on, whether the loop fails or hangs. The zero value is
// ready for use.
type watchdog struct {
	mu    sync.Mutex
	timer *time.Timer
	armed bool
}

func (w *watchdog) init() {
	if w.timer == nil {
		w.timer = time.NewTimer(stall)
		w.timer.Stop()
	}
}

// begun is called when a round begins.
func (w *watchdog) begun() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.init()
	if !w.armed {
		w.armed = true
		w.timer.Reset(stall)
	}
}

// alive is called when a round makes progress.
func (w *watchdog) alive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.init(); w.armed {
		w.timer.Reset(stall)
	}
}

// succeeded is called when a round has ended well.
func (w *watchdog) succeeded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.init()
	w.armed = false
	w.timer.Stop()
}

// run calls bark when nothing has gone on for as long as stall, once until the next success.
func (w *watchdog) run(ctx context.Context, bark func()) {
	w.mu.Lock()
	w.init()
	timer := w.timer
	w.mu.Unlock()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			bark()
		}
	}
}
