package writer

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrClosed says that the database is closed, or being closed.
var ErrClosed = errors.New("the database is closed")

// Gate is what Close shuts: from then on nobody begins anything new. There is one for
// an open database, for those who read and those who write.
type Gate struct{ shut chan struct{} }

// NewGate returns an open gate.
func NewGate() *Gate { return &Gate{shut: make(chan struct{})} }

// Shut shuts the gate. It is called once.
func (g *Gate) Shut() { close(g.shut) }

// IsShut says whether Shut was called.
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
