package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/syncer"
)

// How often Open checks again whether another process has released the file, which costs
// next to nothing, or the name in the bucket, which costs a request.
const (
	lookAtFile   = 10 * time.Millisecond
	lookAtBucket = 500 * time.Millisecond
)

// waitFor calls try at intervals of pause until it no longer fails with busy, or
// Config.LockWait is over.
func (o *opening) waitFor(ctx context.Context, busy error, pause time.Duration, try func() error) error {
	for {
		err := try()
		left := time.Until(o.lockUntil)
		if !errors.Is(err, busy) {
			return err
		}
		if left <= 0 {
			if o.cfg.LockWait > 0 {
				err = fmt.Errorf("waited %s: %w", o.cfg.LockWait, err)
			}
			return err
		}
		select {
		case <-time.After(min(pause, left)):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// awaitRelease waits, if Open may not take the database over, until no other node writes
// it. It comes before restoring, so that Open does not restore something that it then
// refuses. If the bucket does not answer now, the first upload finds out.
func (o *opening) awaitRelease(ctx context.Context) error {
	if !o.cfg.RefuseTakeover || o.cfg.ManualSync || o.uplink.bucket == nil {
		return nil
	}
	node := o.cfg.NodeID
	if node == "" {
		node = o.found.id.NodeID
	}
	err := o.waitFor(ctx, syncer.ErrHeld, lookAtBucket, func() error { return syncer.Held(ctx, o.ask(), node) })
	if errors.Is(err, syncer.ErrHeld) || ctx.Err() != nil {
		return err
	}
	return nil
}
