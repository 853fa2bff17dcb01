package event

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// unasked passes warnings and errors on to the current slog.Default(): a program that has
// set up no logging must still learn of a wrong secret. Persistent failures are repeated
// only once in a while, since the program has not asked for them.
type unasked struct {
	with func(slog.Handler) slog.Handler // attributes and groups, nil if there are none
	*told
}

// told records when each message was last passed on, by its level and text. Both are
// constants of DriftDB, so there are few.
type told struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// repeatAfter is how long a message is not repeated.
const repeatAfter = time.Minute

func (u unasked) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && slog.Default().Handler().Enabled(ctx, l)
}

func (u unasked) Handle(ctx context.Context, r slog.Record) error {
	if !u.due(r) {
		return nil
	}
	next := slog.Default().Handler()
	if u.with != nil {
		next = u.with(next)
	}
	r = r.Clone()
	r.Message = "driftdb: " + r.Message // the program's own messages are around it
	return next.Handle(ctx, r)
}

func (t *told) due(r slog.Record) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := r.Level.String() + " " + r.Message
	if last, ok := t.last[key]; ok && r.Time.Sub(last) < repeatAfter {
		return false
	}
	t.last[key] = r.Time
	return true
}

func (u unasked) WithAttrs(attrs []slog.Attr) slog.Handler {
	return u.then(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (u unasked) WithGroup(name string) slog.Handler {
	return u.then(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (u unasked) then(more func(slog.Handler) slog.Handler) slog.Handler {
	before := u.with
	u.with = func(h slog.Handler) slog.Handler {
		if before != nil {
			h = before(h)
		}
		return more(h)
	}
	return u
}
