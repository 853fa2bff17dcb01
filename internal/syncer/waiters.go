package syncer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// waiters are the callers of WaitSynced. While there are any, a courier works for them: a
// goroutine that does one round after the other. Each round uploads what was committed
// before it, so a caller that comes while one is under way is served by the next one at
// the latest. Whatever else makes changes safe, such as a Flush or a snapshot, serves the
// callers too.
type waiters struct {
	mu        sync.Mutex
	waiting   map[*waiter]struct{}
	courier   bool               // there is one
	closed    bool               // there will be no other
	began     time.Time          // when the courier's last round began
	failed    error              // why the last request or round of any kind failed; nil if the round succeeded
	interrupt context.CancelFunc // of the courier's round; nil: it does none
}

// waiter is one call.
type waiter struct {
	sequence int64
	done     chan struct{} // closed once err is set
	err      error
}

// WaitSynced returns when everything up to sequence, which is committed, is safe. While
// that fails for a reason that may pass, it waits until ctx ends.
func (s *Syncer) WaitSynced(ctx context.Context, sequence int64) error {
	w := &waiter{sequence: sequence, done: make(chan struct{})}
	if waits, err := s.await(w); !waits {
		return err
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return s.waiters.leave(ctx, w)
	}
}

// await adds w to the waiters, unless it need not or cannot wait, and sees to it that
// there is a courier.
func (s *Syncer) await(w *waiter) (waits bool, err error) {
	q := &s.waiters
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case s.status.safe.Load() >= w.sequence:
		return false, nil
	case q.closed:
		return false, ErrClosed
	}
	if q.waiting == nil {
		q.waiting = map[*waiter]struct{}{}
	}
	q.waiting[w] = struct{}{}
	if !q.courier {
		q.courier = true
		s.beside.Go(s.carry)
	}
	return true, nil
}

// leave ends w because its context has ended, unless it was just served.
func (q *waiters) leave(ctx context.Context, w *waiter) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, waits := q.waiting[w]; !waits {
		return w.err
	}
	delete(q.waiting, w)
	err := fmt.Errorf("change %d is not known to be in the bucket yet: %w", w.sequence, context.Cause(ctx))
	if q.failed != nil {
		err = fmt.Errorf("%w; the last attempt failed: %w", err, q.failed)
	}
	return err
}

// serve ends the waits for changes up to safe.
func (q *waiters) serve(safe int64) {
	q.end(nil, func(w *waiter) bool { return w.sequence <= safe })
}

// dismiss ends all waits with err.
func (q *waiters) dismiss(err error) { q.end(err, func(*waiter) bool { return true }) }

func (q *waiters) end(err error, which func(*waiter) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for w := range q.waiting {
		if which(w) {
			w.err = err
			close(w.done)
			delete(q.waiting, w)
		}
	}
}

// shut ends all waits, and lets no other begin. The courier ends with the engine's life.
func (q *waiters) shut() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.dismiss(ErrClosed)
}

// note records why a request or a round has failed; nil if a round has succeeded.
func (q *waiters) note(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failed = err
}

// halt interrupts the courier's round. It begins another one soon.
func (q *waiters) halt() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.interrupt != nil {
		q.interrupt()
	}
}

// begin records that the courier's round begins, if it is still wanted.
func (q *waiters) begin(interrupt context.CancelFunc) (wanted bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return false
	}
	q.began, q.interrupt = time.Now(), interrupt
	return true
}

// ended records that the courier's round has ended.
func (q *waiters) ended() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.interrupt = nil
}

// next returns when the courier's next round may begin if rounds are gap apart. If nobody
// waits, the courier must end.
func (q *waiters) next(gap time.Duration) (at time.Time, wanted bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.courier = len(q.waiting) > 0
	return q.began.Add(gap), q.courier
}

// carry is the courier.
func (s *Syncer) carry() {
	var soonest time.Time // after a failure
	pause := s.cfg.Again
	for {
		at, wanted := s.waiters.next(s.cfg.Gap)
		if !wanted || !s.sleep(max(time.Until(at), time.Until(soonest))) {
			return
		}
		t, err := s.errand()
		switch {
		case errors.As(err, new(*hopeless)):
			s.waiters.dismiss(errors.Unwrap(err))
		case err != nil:
			soonest = time.Now().Add(pause)
			pause = max(pause, min(2*pause, s.cfg.Interval)) // no more often than the loop, in the end
		default:
			pause = s.cfg.Again
			if t == nil {
				continue
			}
			select { // what is left waits for its snapshot
			case <-t.done:
			case <-s.life.Done():
			}
		}
	}
}

// hopeless is an error that does not pass by itself.
type hopeless struct{ error }

func (e *hopeless) Unwrap() error { return e.error }

// errand does the courier's round. If that is not enough, because a barrier needs a
// snapshot, it returns the task that makes it.
func (s *Syncer) errand() (t *task, err error) {
	ctx, cancel := context.WithCancel(s.life)
	defer cancel()
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	defer s.release()
	if !s.waiters.begin(cancel) {
		return nil, nil
	}
	defer s.waiters.ended()
	target := s.cfg.Sequence()
	err = s.work(ctx, request{parent: s.life, waited: true})
	switch {
	case err != nil && (s.broken != nil || errors.Is(err, fs.ErrPermission)):
		return nil, &hopeless{err}
	case err != nil || s.safe() >= target:
		return nil, err
	case s.snapshots.underway() == nil:
		err = errors.New("a barrier needs a snapshot, which cannot be made now")
		s.waiters.note(err)
		return nil, err
	}
	return s.snapshots.underway(), nil
}

// sleep waits for d, and reports whether the engine still lives.
func (s *Syncer) sleep(d time.Duration) bool {
	if d <= 0 {
		return s.life.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.life.Done():
		return false
	}
}
