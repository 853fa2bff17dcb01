package systemtest

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
)

// Events keeps what a database tells.
type Events struct {
	Mu   sync.Mutex
	List []driftdb.Event
	more chan struct{}
}

// Listen makes a database tell its events.
func Listen(cfg *driftdb.Config) *Events {
	e := &Events{more: make(chan struct{}, 1)}
	cfg.OnEvent = func(ev driftdb.Event) {
		e.Mu.Lock()
		e.List = append(e.List, ev)
		e.Mu.Unlock()
		select {
		case e.more <- struct{}{}:
		default:
		}
	}
	return e
}

// Wait returns an event of the kind when there is one.
func (e *Events) Wait(t testing.TB, kind driftdb.EventKind) driftdb.Event {
	t.Helper()
	late := time.After(patience)
	for {
		e.Mu.Lock()
		found := slices.IndexFunc(e.List, func(ev driftdb.Event) bool { return ev.Kind == kind })
		if found >= 0 {
			defer e.Mu.Unlock()
			return e.List[found]
		}
		e.Mu.Unlock()
		select {
		case <-e.more:
		case <-late:
			t.Fatalf("no event of the kind %s: %+v", kind, e.List)
		}
	}
}

// Teller lets a test run code where a database tells of something: in OnEvent, or
// in the handler of a Logger.
type Teller struct {
	mu   sync.Mutex
	once func(e driftdb.Event)
}

// Set sets what the next event runs, once.
func (w *Teller) Set(fn func(e driftdb.Event)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.once = fn
}

// Tell tells of an event.
func (w *Teller) Tell(e driftdb.Event) {
	w.mu.Lock()
	fn := w.once
	w.once = nil
	w.mu.Unlock()
	if fn != nil {
		fn(e)
	}
}

// Enabled is that of a slog.Handler.
func (w *Teller) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs is that of a slog.Handler.
func (w *Teller) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup is that of a slog.Handler.
func (w *Teller) WithGroup(string) slog.Handler { return w }

// Handle is that of a slog.Handler.
func (w *Teller) Handle(_ context.Context, r slog.Record) error {
	w.Tell(driftdb.Event{Message: r.Message})
	return nil
}
