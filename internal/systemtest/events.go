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

// Events collects the events of a database.
type Events struct {
	Mu   sync.Mutex
	List []driftdb.Event
	more chan struct{}
}

// Listen collects the events of the database that cfg opens.
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

// Wait waits for an event of this kind and returns it.
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

// Teller lets a test run code where a database reports an event: in OnEvent, or in the
// handler of a Logger.
type Teller struct {
	mu   sync.Mutex
	once func(e driftdb.Event)
}

// Set sets the function that the next event runs, once.
func (w *Teller) Set(fn func(e driftdb.Event)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.once = fn
}

// Tell receives an event.
func (w *Teller) Tell(e driftdb.Event) {
	w.mu.Lock()
	fn := w.once
	w.once = nil
	w.mu.Unlock()
	if fn != nil {
		fn(e)
	}
}

// Enabled implements slog.Handler.
func (w *Teller) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler.
func (w *Teller) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements slog.Handler.
func (w *Teller) WithGroup(string) slog.Handler { return w }

// Handle implements slog.Handler.
func (w *Teller) Handle(_ context.Context, r slog.Record) error {
	w.Tell(driftdb.Event{Message: r.Message})
	return nil
}
