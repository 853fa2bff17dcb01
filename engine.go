package driftdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/syncer"
	"github.com/driftdb/driftdb-go/internal/wrap"
)

// engine is what brings the log to the bucket, and the way there. Without a store it has
// the log only.
type engine struct {
	logs   *changelog.Log
	sync   *syncer.Syncer
	bucket *remote.Bucket
	meter  *wrap.Meter // of the store
}

// lastWords is how long Close lets a bucket answer that did not do so lately.
const lastWords = 300 * time.Millisecond

// sendLast sends what is pending at Close, by round, within a time.
func (e *engine) sendLast(log event.Log, within time.Duration, round func(context.Context) error) error {
	if within < 0 || !e.sync.Status().Running {
		return nil
	}
	away := e.meter.Failing.Load() || e.meter.Silent && !e.meter.Heard.Load()
	if away {
		within = min(within, lastWords)
		e.sync.Stop() // it may be waiting before it tries again
	}
	ctx, cancel := context.WithTimeoutCause(retry.Hurried(context.Background()), within,
		fmt.Errorf("the bucket did not answer within %s", within))
	defer cancel()
	err := round(ctx)
	if err != nil && ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
	}
	e.noteSilence(log)
	return err
}

// noteSilence notes in the file whether the bucket has been silent, if that is news. What
// is under way is given up by now. Without the note, the next session only waits longer
// than it has to, or less long.
func (e *engine) noteSilence(log event.Log) {
	heard := e.meter.Heard.Load()
	if news := heard && e.meter.Silent || !heard && !e.meter.Silent && e.meter.Failing.Load(); !news {
		return
	}
	e.sync.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), lastBusyTimeout)
	defer cancel()
	if err := e.sync.NoteSilence(ctx, !heard); err != nil {
		log.Debug(event.SilenceNotNoted, "it could not be noted whether the bucket answers", "error", err)
	}
}

// acked is the last sequence that the bucket has, as far as this session knows.
func (e *engine) acked() int64 {
	if e.sync == nil {
		return 0
	}
	return e.sync.Status().Acked
}

// giveUpLog puts a barrier in the place of the unsent log. commit commits it.
func (e *engine) giveUpLog(ctx context.Context, reason string, commit func(func() error) error) (through int64, err error) {
	if e.sync != nil {
		return e.sync.Collapse(ctx, reason)
	}
	return e.logs.GiveUp(reason, commit)
}
