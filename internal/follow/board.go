package follow

import (
	"context"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/engine"
)

// board is what the loop tells everybody else. It has a lock of its own, which is never held
// for long.
type board struct {
	mu    sync.Mutex
	file  *engine.Following // the loop alone may use it, except for DB
	state state
	news  chan struct{} // closed with the next change of the state; nil: nobody waits

	waiting int           // calls of wait
	ask     chan struct{} // capacity 1: one of them wants the store to be asked
	closed  error
}

// state is what is known of a follower. Its counters start when the follower is opened.
type state struct {
	sequence, confirmed int64

	current time.Time // when the round began that last found nothing missing; monotonic
	polled  time.Time // when the store last answered
	applied time.Time // when changes were last applied
	changed time.Time // when the last change was made, by its writer's clock

	begun, rounds                                         int64 // rounds that have begun and ended
	polls, unchanged, batches, changes, rebases, failures int64

	stalled bool
	last    error // of the last round
	lasting error // the same, if waiting does not help
}

// open sets the file, which the loop has opened.
func (b *board) open(file *engine.Following) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.file = file
	if b.ask == nil {
		b.ask = make(chan struct{}, 1)
	}
	b.state.sequence, b.state.changed = file.At().Sequence, file.LastChange()
	if b.state.current.IsZero() {
		b.state.current = time.Now()
	}
}

// close closes the file, after the loop has ended. Whoever waits gets why.
func (b *board) close(why error) error {
	b.mu.Lock()
	b.closed = why
	b.tell()
	file := b.file
	b.mu.Unlock()
	return file.Close()
}

func (b *board) database() *engine.DB {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.file.DB()
}

// update changes the state, and tells those who wait for it.
func (b *board) update(change func(*state)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.state)
	b.tell()
}

// tell wakes all who wait. The caller holds mu.
func (b *board) tell() {
	if b.news != nil {
		close(b.news)
		b.news = nil
	}
}

func (b *board) read() state {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// awaited reports whether anybody waits for a change.
func (b *board) awaited() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting > 0
}

// begin notes that a round begins.
func (b *board) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.begun++
}

// wait returns when the database has the change of this number. An error that waiting does
// not help counts if it is that of a round that began after the call.
func (b *board) wait(ctx context.Context, sequence int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting++
	defer func() { b.waiting-- }()
	asked := false
	for before := b.state.begun; b.state.sequence < sequence; {
		switch {
		case b.closed != nil:
			return b.closed
		case b.state.lasting != nil && b.state.rounds > before:
			return b.state.lasting
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if !asked {
			asked = true
			select {
			case b.ask <- struct{}{}:
			default:
			}
		}
		if b.news == nil {
			b.news = make(chan struct{})
		}
		news := b.news
		b.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
		}
		b.mu.Lock()
	}
	return nil
}
