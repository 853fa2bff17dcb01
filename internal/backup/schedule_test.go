package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
)

const day = 24 * time.Hour

// scheduled runs a schedule for a time, and returns when it verified.
func scheduled(t *testing.T, s Schedule, span time.Duration, verify func(n int) error) (at []time.Duration, last error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !s.Last.IsZero() {
			s.Last = began.Add(time.Until(began) - time.Hour) // an hour ago
		}
		ctx, stop := context.WithTimeout(t.Context(), span)
		defer stop()
		b := &Backup{cfg: Config{Log: event.To(slog.DiscardHandler)}}
		last = b.VerifyEvery(ctx, s, func(context.Context) (int64, error) {
			at = append(at, time.Since(began))
			return 1, verify(len(at))
		})
	})
	return at, last
}

func good(int) error { return nil }

// TestSchedule: the first verification is due at once, and the others a day after the one
// before, or up to a tenth of that sooner.
func TestSchedule(t *testing.T) {
	at, err := scheduled(t, Schedule{Every: day}, 10*day, good)
	if err != nil || len(at) < 10 || len(at) > 12 || at[0] != 0 {
		t.Errorf("in ten days it verified at %v, %v", at, err)
	}
	for i := range at[1:] {
		if gap := at[i+1] - at[i]; gap > day || gap < day*9/10 {
			t.Errorf("a gap of %s", gap)
		}
	}
}

// TestScheduleGoesOn: one that was verified an hour ago is not verified at once.
func TestScheduleGoesOn(t *testing.T) {
	at, err := scheduled(t, Schedule{Every: day, Last: time.Now()}, day, good)
	if err != nil || len(at) != 1 || at[0] > 23*time.Hour || at[0] < 20*time.Hour {
		t.Errorf("it verified at %v, %v", at, err)
	}
}

// TestScheduleFails: a verification that failed is tried again after three hours, and the end
// says how the last one ended.
func TestScheduleFails(t *testing.T) {
	bad := errors.New("bad")
	at, err := scheduled(t, Schedule{Every: day}, 4*time.Hour, func(n int) error {
		if n == 1 {
			return bad
		}
		return nil
	})
	if err != nil || len(at) != 2 || at[1] != 3*time.Hour {
		t.Errorf("it verified at %v, %v", at, err)
	}
	if at, err := scheduled(t, Schedule{Every: day}, 7*time.Hour, func(int) error { return bad }); !errors.Is(err, bad) || len(at) != 3 {
		t.Errorf("it verified at %v, %v", at, err)
	}
}

// TestScheduleInterrupted: a verification that is interrupted is not one that failed.
func TestScheduleInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		b := &Backup{cfg: Config{Log: event.To(slog.DiscardHandler)}}
		err := b.VerifyEvery(ctx, Schedule{Every: day}, func(ctx context.Context) (int64, error) {
			stop()
			return 0, ctx.Err()
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestScheduleEnds: neither is one that says why it was ended.
func TestScheduleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancelCause(t.Context())
		var said counting
		b := &Backup{cfg: Config{Log: event.To(&said)}}
		err := b.VerifyEvery(ctx, Schedule{Every: day}, func(ctx context.Context) (int64, error) {
			stop(errors.New("signal received"))
			return 0, fmt.Errorf("list: %w", context.Cause(ctx))
		})
		if err != nil || said > 0 {
			t.Errorf("%v, %d events", err, said)
		}
	})
}

// counting is a handler that counts.
type counting int

func (*counting) Enabled(context.Context, slog.Level) bool    { return true }
func (c *counting) Handle(context.Context, slog.Record) error { *c++; return nil }
func (c *counting) WithAttrs([]slog.Attr) slog.Handler        { return c }
func (c *counting) WithGroup(string) slog.Handler             { return c }

// TestScheduleClock: a clock that was ahead at the last verification, and has been put right since,
// puts the next one off by no more than a day.
func TestScheduleClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		b := &Backup{cfg: Config{Log: event.To(slog.DiscardHandler)}}
		err := b.VerifyEvery(ctx, Schedule{Every: day, Last: began.Add(1000 * day)}, func(context.Context) (int64, error) {
			stop()
			return 1, nil
		})
		if took := time.Since(began); err != nil || took != day {
			t.Errorf("%v, after %s", err, took)
		}
	})
}
