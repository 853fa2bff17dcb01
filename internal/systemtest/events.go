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

// wait returns an event of the kind when there is one.
func (e *Events) Wait(t testing.TB, kind driftdb.EventKind) driftdb.Event {
	t.Helper()
	late := time.After(time.Minute)
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

func (w *Teller) Set(fn func(e driftdb.Event)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.once = fn
}

func (w *Teller) Tell(e driftdb.Event) {
	w.mu.Lock()
	fn := w.once
	w.once = nil
	w.mu.Unlock()
	if fn != nil {
		fn(e)
	}
}

func (w *Teller) Enabled(context.Context, slog.Level) bool { return true }

func (w *Teller) WithAttrs([]slog.Attr) slog.Handler { return w }

func (w *Teller) WithGroup(string) slog.Handler { return w }

func (w *Teller) Handle(_ context.Context, r slog.Record) error {
	w.Tell(driftdb.Event{Message: r.Message})
	return nil
}
