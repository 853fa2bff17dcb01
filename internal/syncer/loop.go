package syncer

import (
	"context"
	"errors"
	"time"
)

// Start starts the loop, unless it is running.
func (s *Syncer) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil || s.life.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.life)
	before := s.done
	s.cancel, s.done = cancel, make(chan struct{})
	s.status.running.Store(true)
	go func(done chan struct{}) {
		defer close(done)
		<-before
		s.loop(ctx)
	}(s.done)
}

// Stop interrupts the loop and waits until it has ended.
func (s *Syncer) Stop() { <-s.Halt() }

// Halt is Stop without the waiting: the channel is closed when the loop has ended.
func (s *Syncer) Halt() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
		s.status.running.Store(false)
	}
	s.waiters.halt()
	return s.done
}

// Close stops the loop, interrupts all calls in progress, and waits for them. Afterwards
// the engine does no more work.
func (s *Syncer) Close() {
	s.end()
	s.waiters.shut()
	s.beside.Wait()
	s.Stop()
	s.token <- struct{}{}
	if t := s.snapshots.underway(); t != nil { // its context has ended, and no other task can start
		<-t.done
	}
}

// loop sleeps until something is committed, waits an interval for more, and
// ticks. No timer runs while there is nothing to do.
func (s *Syncer) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	var next time.Time // when the timer fires; zero: it is stopped
	if s.due() {
		next = time.Now() // handle what an earlier session left at once
	} else {
		timer.Stop()
	}
	var started *task // by this loop
	defer func() {
		if started != nil {
			<-started.done
		}
	}()
	for {
		wake := s.wake
		if !next.IsZero() && time.Until(next) <= s.cfg.Interval {
			wake = nil // the timer fires soon enough; ignore wake-ups by writers
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-wake:
			next = time.Now().Add(s.cfg.Interval)
		case <-timer.C:
			var wait time.Duration
			next = time.Time{}
			if wait, started = s.tick(ctx); wait > 0 {
				next = time.Now().Add(wait)
			}
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// tick does one round of work. It returns how long to wait until the next one, or 0 if
// there is nothing to do, and the running task that this loop started, if any.
func (s *Syncer) tick(ctx context.Context) (wait time.Duration, started *task) {
	if err := s.acquire(ctx); err != nil {
		return 0, nil
	}
	defer s.release()
	err := s.work(ctx, request{parent: ctx})
	if t := s.snapshots.underway(); t != nil && t.parent == ctx {
		started = t
	}
	return s.next(ctx, err), started
}

// next returns how long to wait after a tick that ended with err, or 0 if there is nothing
// to do.
func (s *Syncer) next(ctx context.Context, err error) time.Duration {
	switch {
	case ctx.Err() != nil || s.broken != nil && !s.branch.straggling():
		return 0
	case errors.Is(err, ErrMalformed):
		return s.snapshots.patience()
	case err != nil, s.pending() > 0, s.unsaved.is, s.epoch.isGone():
		return s.cfg.Interval
	case s.snapshots.ailing() != nil && s.books.BarrierOpen(): // uploaded changes need a snapshot
		return s.snapshots.patience()
	case s.snapshots.underway() != nil && s.books.BarrierOpen(): // the end of the task wakes the loop
		return 0
	case s.unconfirmed():
		return max(s.cfg.ManifestInterval-s.epoch.sinceSwap(), time.Millisecond)
	}
	return 0
}

func (s *Syncer) acquire(ctx context.Context) error {
	select {
	case s.token <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.life.Done():
		return ErrClosed
	}
}

func (s *Syncer) release() { <-s.token }

// due reports whether an earlier session left something to do.
func (s *Syncer) due() bool {
	if err := s.acquire(context.Background()); err != nil {
		return false
	}
	defer s.release()
	return s.opened > s.books.Acked || s.unconfirmed() || s.books.BarrierOpen() || s.epoch.mustCheck()
}
