package writer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrClosed is returned when the database is closed or closing.
var ErrClosed = errors.New("the database is closed")

// Gate is shut by Close; after that no new work begins. An open database has one gate,
// shared by readers and writers.
type Gate struct {
	shut chan struct{}
	once sync.Once
	err  error // returned by Close
}

// NewGate returns an open gate.
func NewGate() *Gate { return &Gate{shut: make(chan struct{})} }

// Close shuts the gate and calls fn, once. A second call waits for the first and returns
// its error.
func (g *Gate) Close(fn func() error) error {
	g.once.Do(func() {
		close(g.shut)
		g.err = fn()
	})
	return g.err
}

// IsShut reports whether Close was called.
func (g *Gate) IsShut() bool {
	select {
	case <-g.shut:
		return true
	default:
		return false
	}
}

// Shut returns a channel that is closed when Close is called.
func (g *Gate) Shut() <-chan struct{} { return g.shut }

// Explain returns err, or its cause if err means that a statement was interrupted or its
// transaction was lost: ctx has ended or the gate is shut.
func (g *Gate) Explain(ctx context.Context, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrClosed):
	case !sqlite.Stopped(err) && !errors.Is(err, sqlite.ErrTxLost):
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case g.IsShut():
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}
