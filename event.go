package driftdb

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/driftdb/driftdb-go/internal/inside"
)

// eventLogger returns a logger that writes to log, if there is one, and tells
// onEvent, if there is one.
func eventLogger(log *slog.Logger, onEvent func(Event)) *slog.Logger {
	if log == nil && onEvent == nil {
		return slog.New(slog.DiscardHandler)
	}
	h := &eventHandler{call: onEvent, delivery: &delivery{place: inside.New()}}
	if log != nil {
		h.next = log.Handler()
	} else {
		h.next = slog.DiscardHandler
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
		if a.Key == "scope" {
			e.Scope = a.Value.String()
		} else {
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
