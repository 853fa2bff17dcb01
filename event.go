package driftdb

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/inside"
)

// eventLogger returns a logger that writes to log, if there is one, and tells
// onEvent, if there is one. Without either, what goes wrong with the database of this
// name goes to slog.Default().
func eventLogger(log *slog.Logger, onEvent func(Event), name string) *slog.Logger {
	h := &eventHandler{call: onEvent, delivery: &delivery{place: inside.New()}}
	switch {
	case log != nil:
		h.next = log.Handler()
	case onEvent != nil:
		h.next = slog.DiscardHandler
	default:
		h.next = unasked{told: &told{last: map[string]time.Time{}}}.WithAttrs([]slog.Attr{slog.String("database", name)})
	}
	return slog.New(h)
}

// eventHandler passes records on, and hands a copy to a function.
type eventHandler struct {
	next  slog.Handler
	call  func(Event) // nil: there is none
	attrs []slog.Attr
	*delivery
}

// delivery is the telling. What is told runs code of the program's, which may use
// the database and so cause further events.
type delivery struct {
	place inside.Place // of that code

	one sync.Mutex // calls come one at a time

	mu    sync.Mutex
	later []func() // events that were caused by being told of one
}

func (h *eventHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.call != nil && l >= slog.LevelInfo || h.next.Enabled(ctx, l)
}

func (h *eventHandler) Handle(ctx context.Context, r slog.Record) (err error) {
	if h.place.Here() { // told at once, it would come into the middle of the other one
		r = r.Clone()
		h.mu.Lock()
		h.later = append(h.later, func() { _ = h.deliver(context.WithoutCancel(ctx), r) })
		h.mu.Unlock()
		return nil
	}
	h.place.Call(func() { err = h.deliver(ctx, r) })
	for {
		h.mu.Lock()
		later := h.later
		h.later = nil
		h.mu.Unlock()
		if len(later) == 0 {
			return err
		}
		for _, deliver := range later {
			h.place.Call(deliver)
		}
	}
}

func (h *eventHandler) deliver(ctx context.Context, r slog.Record) error {
	if h.call != nil && r.Level >= slog.LevelInfo {
		h.callOne(h.event(r))
	}
	if h.next.Enabled(ctx, r.Level) {
		return h.next.Handle(ctx, r)
	}
	return nil
}

func (h *eventHandler) callOne(e Event) {
	h.one.Lock()
	defer h.one.Unlock()
	h.call(e)
}

// event is a record as OnEvent gets it.
func (h *eventHandler) event(r slog.Record) Event {
	e := Event{Time: r.Time, Level: r.Level, Message: r.Message, Attrs: map[string]any{}}
	add := func(a slog.Attr) bool {
		switch a.Key {
		case event.ScopeKey:
			e.Scope = EventScope(a.Value.String())
		case event.KindKey:
			e.Kind = EventKind(a.Value.String())
		default:
			e.Attrs[a.Key] = a.Value.Any()
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	return e
}

func (h *eventHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.next, c.attrs = h.next.WithAttrs(attrs), append(slices.Clip(h.attrs), attrs...)
	return &c
}

func (h *eventHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.next = h.next.WithGroup(name)
	return &c
}

// inEvent says whether the caller runs inside OnEvent or a Logger's handler of
// this database.
func (db *DB) inEvent() bool {
	h, ok := db.log.Handler().(*eventHandler)
	return ok && h.place.Here()
}

// unasked passes warnings and errors on to slog.Default(), as it is by then: a program
// that has set up nothing must still hear of a wrong secret. What goes on failing is
// repeated once in a while only, since nobody has asked for it.
type unasked struct {
	with func(slog.Handler) slog.Handler // attributes and groups, nil if there are none
	*told
}

// told is what was passed on when, by its level and message. Both are constants of
// ours, so that there are few.
type told struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// repeatAfter is for how long the same message is not repeated.
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
