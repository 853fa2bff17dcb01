package writer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrClosed says that the database is closed, or being closed.
var ErrClosed = errors.New("the database is closed")

// Gate is what Close shuts: from then on nobody begins anything new. There is one for
// an open database, for those who read and those who write.
type Gate struct {
	shut chan struct{}
	once sync.Once
	err  error // of closing
}

// NewGate returns an open gate.
func NewGate() *Gate { return &Gate{shut: make(chan struct{})} }

// Close shuts the gate and calls fn, once. A second call waits for the first, and returns
// what that did.
func (g *Gate) Close(fn func() error) error {
	g.once.Do(func() {
		close(g.shut)
		g.err = fn()
	})
	return g.err
}

// IsShut says whether Close was called.
func (g *Gate) IsShut() bool {
	select {
	case <-g.shut:
		return true
	default:
		return false
	}
}

// Explain makes an error of a statement that was interrupted, or whose transaction is
// gone, what has brought that about: the context that ended, or the gate.
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
