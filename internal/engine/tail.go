package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/writer"
)

// tail is the end of the log, and whoever waits for it to move on.
//
// No wait misses a move: a waiter first hangs up its bell and then looks at the log, and
// whoever moves the log first moves it and then rings the bell. Ringing costs a commit one
// atomic load while nobody waits.
type tail struct {
	bell atomic.Pointer[chan struct{}] // closed by the next move; nil: nobody waits
}

// ring wakes all that wait.
func (t *tail) ring() {
	if t.bell.Load() == nil {
		return
	}
	if bell := t.bell.Swap(nil); bell != nil {
		close(*bell)
	}
}

// next returns a channel that is closed when the log has moved on from where it is now.
func (t *tail) next() <-chan struct{} {
	for {
		if bell := t.bell.Load(); bell != nil {
			return *bell
		}
		bell := make(chan struct{})
		if t.bell.CompareAndSwap(nil, &bell) {
			return bell
		}
	}
}

// outsidePoll is how often a database that only reads looks whether the process that
// writes has committed. Nothing tells it.
const outsidePoll = 50 * time.Millisecond

// Wake wakes calls that wait for changes. Commits through this database do that by
// themselves. A database that only reads looks for new changes every outsidePoll, unless
// Config.Woken says that whoever writes the file in this process calls Wake after each
// commit.
func (db *DB) Wake() { db.tail.ring() }

// awaitChange waits until the change with this sequence has been committed.
func (db *DB) awaitChange(ctx context.Context, sequence int64) error {
	var look <-chan time.Time
	if db.cfg.ReadOnly && !db.cfg.Woken {
		ticks := time.NewTicker(outsidePoll)
		defer ticks.Stop()
		look = ticks.C
	}
	for {
		moved := db.tail.next()
		if db.gate.IsShut() {
			return writer.ErrClosed
		}
		if db.Sequence() >= sequence {
			return nil
		}
		select {
		case <-moved:
		case <-look:
		case <-db.gate.Shut():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
