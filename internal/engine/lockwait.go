package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/syncer"
)

// How often Open looks again whether somebody else has let go: of the file, which costs
// next to nothing, and of the name in the bucket, which costs a request.
const (
	lookAtFile   = 10 * time.Millisecond
	lookAtBucket = 500 * time.Millisecond
)

// waitFor calls try every so often until it is no longer busy, or Config.LockWait is over.
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

// awaitRelease waits until no other node writes the database, if Open may not take it
// over: before anything is restored that Open then refuses. What the bucket does not
// answer now, the first upload finds out.
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
