package backup

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
)

// Schedule says when a backup is to be verified.
type Schedule struct {
	Every time.Duration
	Last  time.Time // when it was verified last; zero: never
}

const (
	// sooner is by how much of Every a verification may come sooner than it is due, so that
	// many machines that were started together do not all read at the same moment.
	sooner = 10
	// again is after what part of Every a verification that failed is tried again.
	again = 8
	// glance is how often the clock is looked at: a timer stands still while a machine sleeps.
	glance = time.Minute
)

// VerifyEvery calls verify whenever a verification is due, until ctx ends. It returns the error
// of the last verification that ended by itself. verify returns up to which change the backup is
// verified.
func (b *Backup) VerifyEvery(ctx context.Context, s Schedule, verify func(context.Context) (sequence int64, err error)) (last error) {
	due := time.Now()
	if !s.Last.IsZero() {
		due = s.next(s.Last)
	}
	for s.wait(ctx, due) == nil {
		sequence, err := verify(ctx)
		if Interrupted(ctx, err) {
			break
		}
		if last = err; err != nil {
			due = time.Now().Add(s.Every / again)
			b.cfg.Log.Error(event.VerifyFailed, "the backup could not be verified", "error", err, "again", due.UTC())
			continue
		}
		due = s.next(time.Now())
		b.cfg.Log.Info(event.Verified, "the backup was verified", "sequence", sequence, "next", due.UTC())
	}
	return last
}

// Interrupted reports whether err only says that ctx has ended.
func Interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx)))
}

// next is when a verification is due after one at a time.
func (s Schedule) next(after time.Time) time.Time {
	return after.Add(s.Every - rand.N(s.Every/sooner+1))
}

// wait waits until the clock shows the time due, or ctx ends. It waits no longer than Every: a
// clock that is put back must not stop verifications.
func (s Schedule) wait(ctx context.Context, due time.Time) error {
	latest := time.Now().Add(s.Every) // by the monotonic clock
	for {
		now := time.Now()
		left := min(due.Round(0).Sub(now.Round(0)), latest.Sub(now))
		if left <= 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		timer := time.NewTimer(min(left, glance))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}
