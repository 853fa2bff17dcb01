package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
	"github.com/driftdb/driftdb-go/internal/wrap"
)

// What Open does with the bucket.

// openBucket creates the client of the bucket.
func (o *opening) openBucket(ctx context.Context) error {
	if o.following != nil {
		return nil // it has one
	}
	store, err := o.cfg.Client(ctx)
	if err != nil || store == nil {
		return err
	}
	opts := seal.Options{Compression: o.cfg.Compression, Ring: o.cfg.Keys}
	o.cfg.S3, o.cfg.Keys = nil, nil // from here on only the bucket holds the secrets
	if o.cfg.AdvisoryFencing {
		store = wrap.Advisory(store)
	}
	o.uplink.meter = &wrap.Meter{Store: store}
	doubting := wrap.Doubting(o.uplink.meter)
	within := new(atomic.Int64)
	o.within = within
	o.direct = remote.New(wrap.Prompt(doubting, func() time.Duration { return time.Duration(within.Load()) }), o.cfg.Name, opts)
	o.uplink.bucket = remote.New(wrap.Retry(doubting, o.cfg.Retries()), o.cfg.Name, opts)
	return nil
}

// startSync creates the syncer, and starts it unless the user syncs manually.
func (o *opening) startSync(ctx context.Context) error {
	if err := o.openSync(); err != nil {
		return err
	}
	if o.cfg.Promote {
		if err := o.promote(ctx); err != nil || o.cfg.ManualSync {
			return err
		}
		o.uplink.sync.Start()
		return nil
	}
	if o.cfg.ManualSync {
		o.uplink.sync.Glance()
		return nil
	}
	if err := o.joinBucket(ctx); err != nil {
		return err
	}
	if o.refreshing {
		return nil
	}
	if o.cfg.RefuseTakeover && o.compared != nil { // others that refuse now see that the name is taken
		if err := o.judge(ctx, o.uplink.sync.TakeOver(ctx, checkTimeout)); err != nil {
			return err
		}
	}
	o.uplink.sync.Start()
	return nil
}

// openSync creates the syncer.
func (o *opening) openSync() (err error) {
	o.within.Store(int64(firstTimeout))
	db := o.DB
	if o.cfg.Heartbeat != nil {
		o.uplink.beats = o.cfg.Heartbeat.Start(o.cfg.Log)
	}
	o.uplink.sync, err = syncer.New(syncer.Config{
		Log: o.uplink.logs, Bucket: o.uplink.bucket, Direct: o.direct, Path: o.path,
		Gap: max(o.cfg.SyncGap, 0), Again: o.cfg.Retries().BaseDelay,
		Sequence: o.hub.Sequence, Advance: func(sequence int64) {
			db.hub.Advance(sequence)
			db.tail.ring()
		},
		StandBack: o.writer.StandBack, Refuse: func(err error) { db.hub.Refuse(db.cfg.Public(err)) }, Contest: o.hub.Contest,
		Confirmed: o.uplink.confirmed,
		Writer:    o.openReplaying,
		Reader: func() (*sqlite.Conn, error) {
			if err := db.foreign.CheckFile(); err != nil { // never snapshot a mixture of two files
				return nil, err
			}
			opts := db.options()
			opts.ForeignKeys = false
			return db.openReader(opts)
		},
		Interval: o.cfg.SyncInterval, ManifestInterval: o.cfg.ManifestInterval,
		SnapshotEvery: int64(o.cfg.SnapshotEvery),
		Retention:     o.cfg.Retention, Exclusive: o.cfg.RefuseTakeover, Advisory: o.cfg.AdvisoryFencing,
		Limits: changelog.Limits{Bytes: batchBytes, Entries: int64(o.cfg.MaxBatchSize)},
		Logger: o.cfg.Log,
	})
	if err == nil {
		o.hub.Wake(o.uplink.sync.Wake)
	}
	return err
}

// How long Open waits for the bucket to answer: firstTimeout for a file that DriftDB has
// never seen, checkTimeout to find out whether a known file is up to date. As long as
// answers arrive, Open continues, because the file may have to be brought up to date.
const (
	checkTimeout = 600 * time.Millisecond
	firstTimeout = 3 * time.Second
)

// ask returns the bucket with the timeout that fits what was found.
func (o *opening) ask() *remote.Bucket {
	patience := firstTimeout
	if o.first != nil && o.found.adopted == changelog.Known {
		patience = checkTimeout
	}
	o.within.Store(int64(patience))
	return o.direct
}

// compareBucket compares what was found with the bucket, if the bucket answers. It changes
// neither.
func (o *opening) compareBucket(ctx context.Context) error {
	o.compared = nil
	if o.cfg.Promote {
		return o.compareFollower(ctx)
	}
	if o.uplink.bucket == nil || o.cfg.ManualSync {
		return nil
	}
	file, err := o.described()
	if err != nil {
		return err
	}
	if o.uplink.meter.Silent = file.Silent(); o.uplink.meter.Silent {
		return nil
	}
	c, err := syncer.Compare(ctx, o.ask(), file, o.cfg.RefuseTakeover)
	if err == nil {
		o.compared = &c
	}
	return o.judge(ctx, err)
}

// described returns what the file records about itself, or nothing if the file is new to
// DriftDB.
func (o *opening) described() (syncer.File, error) {
	if o.first == nil || o.found.adopted != changelog.Known {
		return syncer.File{}, nil
	}
	unchanged, err := o.found.traces.AsLeft(o.first)
	if err != nil {
		return syncer.File{}, err
	}
	return syncer.Look(o.first, unchanged)
}

// joinBucket acts on the comparison: it brings the file up to date.
func (o *opening) joinBucket(ctx context.Context) error {
	if o.compared == nil { // the bucket did not answer
		o.uplink.sync.CheckLater()
		return nil
	}
	return o.judge(ctx, o.uplink.sync.Check(ctx, o.compared))
}

// judge filters an error from comparing the file with the bucket during Open. Only an
// error that needs a decision by the user, or a newer version of the program, keeps the
// database from opening.
func (o *opening) judge(ctx context.Context, err error) error {
	switch {
	case err == nil, ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syncer.ErrDiverged), errors.Is(err, syncer.ErrHeld), errors.Is(err, remote.ErrConditions), errors.Is(err, remote.ErrHeadless), errors.Is(err, remote.ErrNameTaken),
		errors.Is(err, restore.ErrCannotCatchUp), errors.Is(err, seal.ErrKey), newer(err):
		return err
	}
	o.cfg.Log.Warn(event.ComparisonFailed, "the file could not be compared with its bucket; the database works, and sync goes on trying", "error", err)
	return nil
}

// newer reports whether err is about something that a newer version wrote.
func newer(err error) bool {
	return errors.Is(err, changelog.ErrVersion) || errors.Is(err, remote.ErrVersion) || errors.Is(err, batch.ErrVersion) || errors.Is(err, seal.ErrVersion)
}
