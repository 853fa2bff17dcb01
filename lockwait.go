package driftdb

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
func (db *DB) waitFor(ctx context.Context, busy error, pause time.Duration, try func() error) error {
	for {
		err := try()
		left := time.Until(db.lockUntil)
		if !errors.Is(err, busy) {
			return err
		}
		if left <= 0 {
			if db.cfg.LockWait > 0 {
				err = fmt.Errorf("waited %s: %w", db.cfg.LockWait, err)
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
func (db *DB) awaitRelease(ctx context.Context) error {
	if !db.cfg.RefuseTakeover || db.cfg.ManualSync || db.bucket == nil {
		return nil
	}
	node := db.cfg.NodeID
	if node == "" {
		node = db.found.id.NodeID
	}
	err := db.waitFor(ctx, syncer.ErrHeld, lookAtBucket, func() error { return syncer.Held(ctx, db.direct, node) })
	if errors.Is(err, syncer.ErrHeld) || ctx.Err() != nil {
		return err
	}
	return nil
}
