package driftdb

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// eventLogger returns a logger that writes to log, if there is one, and tells
// onEvent, if there is one.
func eventLogger(log *slog.Logger, onEvent func(Event)) *slog.Logger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if onEvent == nil {
		return log
	}
	return slog.New(&eventHandler{next: log.Handler(), call: onEvent, one: new(sync.Mutex)})
}

// eventHandler passes records on, and hands a copy to a function.
type eventHandler struct {
	next  slog.Handler
	call  func(Event)
	one   *sync.Mutex // calls come one at a time
	attrs []slog.Attr
}

func (h *eventHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h *eventHandler) Handle(ctx context.Context, r slog.Record) error {
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
	h.one.Lock()
	h.call(e)
	h.one.Unlock()
	if h.next.Enabled(ctx, r.Level) {
		return h.next.Handle(ctx, r)
	}
	return nil
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
