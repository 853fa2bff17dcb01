package event

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/inside"
)

// Event is a record as it is passed to a function.
type Event struct {
	Time    time.Time
	Level   slog.Level
	Kind    Kind
	Scope   string
	Message string
	Attrs   map[string]any // the others
}

// Teller returns a handler that passes records on to log and calls onEvent, if they are
// not nil. If both are nil, warnings and errors of the database of this name go to
// slog.Default().
func Teller(log *slog.Logger, onEvent func(Event), name string) slog.Handler {
	h := &teller{call: onEvent, delivery: &delivery{place: inside.New()}}
	switch {
	case log != nil:
		h.next = log.Handler()
	case onEvent != nil:
		h.next = slog.DiscardHandler
	default:
		h.next = unasked{told: &told{last: map[string]time.Time{}}}.WithAttrs([]slog.Attr{slog.String("database", name)})
	}
	return h
}

// Inside reports whether the caller runs inside a function or a handler that a Teller has
// called. Waiting for that function or handler would then deadlock.
func (l Log) Inside() bool {
	h, ok := l.handler.(*teller)
	return ok && h.place.Here()
}

// teller passes records on, and hands a copy to a function.
type teller struct {
	next  slog.Handler
	call  func(Event) // nil: there is none
	attrs []slog.Attr
	*delivery
}

// delivery delivers events to the program's code, which may use the database and so cause
// further events.
type delivery struct {
	place inside.Place // of that code

	one sync.Mutex // calls come one at a time

	mu    sync.Mutex
	later []func() // events that were caused while one was delivered
}

func (h *teller) Enabled(ctx context.Context, l slog.Level) bool {
	return h.call != nil && l >= slog.LevelInfo || h.next.Enabled(ctx, l)
}

func (h *teller) Handle(ctx context.Context, r slog.Record) (err error) {
	if h.place.Here() { // do not deliver in the middle of another delivery
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

func (h *teller) deliver(ctx context.Context, r slog.Record) error {
	if h.call != nil && r.Level >= slog.LevelInfo {
		h.callOne(h.event(r))
	}
	if h.next.Enabled(ctx, r.Level) {
		return h.next.Handle(ctx, r)
	}
	return nil
}

func (h *teller) callOne(e Event) {
	h.one.Lock()
	defer h.one.Unlock()
	h.call(e)
}

// event converts a record into an Event.
func (h *teller) event(r slog.Record) Event {
	e := Event{Time: r.Time, Level: r.Level, Message: r.Message, Attrs: map[string]any{}}
	add := func(a slog.Attr) bool {
		switch a.Key {
		case ScopeKey:
			e.Scope = a.Value.String()
		case KindKey:
			e.Kind = Kind(a.Value.String())
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

func (h *teller) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.next, c.attrs = h.next.WithAttrs(attrs), append(slices.Clip(h.attrs), attrs...)
	return &c
}

func (h *teller) WithGroup(name string) slog.Handler {
	c := *h
	c.next = h.next.WithGroup(name)
	return &c
}
