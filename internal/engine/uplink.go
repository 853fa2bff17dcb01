package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/heartbeat"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/syncer"
	"github.com/driftdb/driftdb-go/internal/wrap"
)

// uplink sends the log to the bucket. Without a store it has the log only.
type uplink struct {
	logs   *changelog.Log
	sync   *syncer.Syncer
	beats  *heartbeat.Sender // nil: none are wanted
	bucket *remote.Bucket
	meter  *wrap.Meter // of the store
}

// lastWords is how long Close waits for a bucket that has not answered lately.
const lastWords = 300 * time.Millisecond

// confirmed is called whenever a manifest of this session confirms what the bucket has.
func (u *uplink) confirmed() {
	if u.beats != nil {
		u.beats.Beat()
	}
}

// closeSync ends syncing, and then the heartbeats that tell of it.
func (u *uplink) closeSync() {
	if u.sync != nil {
		u.sync.Close()
	}
	if u.beats != nil {
		u.beats.Close()
	}
	u.beats = nil
}

// sendLast calls round to send what is pending at Close, within a time limit.
func (u *uplink) sendLast(log event.Log, within time.Duration, round func(context.Context) error) error {
	if within < 0 || !u.sync.Status().Running {
		return nil
	}
	away := u.meter.Failing.Load() || u.meter.Silent && !u.meter.Heard.Load()
	if away {
		within = min(within, lastWords)
		u.sync.Stop() // it may be waiting to retry
	}
	ctx, cancel := context.WithTimeoutCause(retry.Hurried(context.Background()), within,
		fmt.Errorf("the bucket did not answer within %s", within))
	defer cancel()
	err := round(ctx)
	if err != nil && ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
	}
	u.noteSilence(log)
	return err
}

// noteSilence records in the file whether the bucket has been silent, if that has changed.
// It can stop sync first, because whatever is under way has been given up by then. Without
// the note, the next session only waits longer than necessary, or less long.
func (u *uplink) noteSilence(log event.Log) {
	heard := u.meter.Heard.Load()
	if news := heard && u.meter.Silent || !heard && !u.meter.Silent && u.meter.Failing.Load(); !news {
		return
	}
	u.sync.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), lastBusyTimeout)
	defer cancel()
	if err := u.sync.NoteSilence(ctx, !heard); err != nil {
		log.Debug(event.SilenceNotNoted, "it could not be noted whether the bucket answers", "error", err)
	}
}

// acked returns the last sequence that the bucket has, as far as this session knows.
func (u *uplink) acked() int64 {
	if u.sync == nil {
		return 0
	}
	return u.sync.Status().Acked
}

// giveUpLog replaces the unsent log with a barrier, which commit commits.
func (u *uplink) giveUpLog(ctx context.Context, reason string, commit func(func() error) error) (through int64, err error) {
	if u.sync != nil {
		return u.sync.Collapse(ctx, reason)
	}
	return u.logs.GiveUp(reason, commit)
}
