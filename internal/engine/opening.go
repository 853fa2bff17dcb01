package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/foreign"
	"github.com/driftdb/driftdb-go/internal/readsql"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
	"github.com/driftdb/driftdb-go/internal/writer"
	lib "modernc.org/sqlite/lib"
)

// opening is the state that matters only while Open runs. Open assembles the parts of a DB
// in it and then drops it, so no function that outlives Open may use it.
type opening struct {
	*DB
	refreshing bool      // only brings the file up to date, and sends nothing
	lockUntil  time.Time // when Open stops waiting for others to release their locks

	direct *remote.Bucket // the bucket without retries, because Open does not wait long
	within *atomic.Int64  // how long the bucket may be silent, in nanoseconds

	first    *sqlite.Conn       // examines the file; later becomes the log's connection
	found    found              // before Open changed anything
	compared *syncer.Comparison // of found with the bucket; nil: no answer, or not asked
	restored bool               // Open has restored the file
	proven   bool               // a follower's file was proven to be as it was left
	clock    clock
}

// open opens the database and returns it.
func (o *opening) open(ctx context.Context) (*DB, error) {
	if err := o.run(ctx); err != nil {
		if ctx.Err() != nil && sqlite.Stopped(err) {
			err = context.Cause(ctx)
		}
		if o.file != nil {
			err = o.file.Explain(err)
		}
		if sqlite.Code(err) == lib.SQLITE_READONLY { // although this user may write the file
			err = fmt.Errorf("SQLite only reads this file: its header asks for a later version to write it (%v)", err)
		}
		return nil, errors.Join(o.cfg.Public(o.explain(err)), o.disconnect(), o.abandon())
	}
	return o.DB, nil
}

// explain adds the path to err, unless err already names it, as errors of the file itself
// do.
func (o *opening) explain(err error) error {
	path := o.path
	if path == "" {
		path, _ = filepath.Abs(o.cfg.Path)
	}
	if path != "" && strings.Contains(err.Error(), path) {
		return err
	}
	return fmt.Errorf("open %s: %w", o.cfg.Path, err)
}

func (o *opening) run(ctx context.Context) error {
	o.lockUntil = time.Now().Add(o.cfg.LockWait)
	if err := o.takeFile(ctx); err != nil {
		return err
	}
	if err := o.openBucket(ctx); err != nil {
		return err
	}
	o.foreign = foreign.New(foreign.Config{
		File: o.file, Private: o.cfg.Path == Memory, Snapshots: o.uplink.bucket != nil && o.following == nil, Log: o.cfg.Log, Public: o.cfg.Public,
	})
	err := o.start(ctx)
	for errors.Is(err, syncer.ErrHeld) && time.Now().Before(o.lockUntil) { // another node was faster
		if err = o.disconnect(); err == nil {
			err = o.start(ctx)
		}
	}
	for tries := maxRestores; tries > 0 && o.outdated(err); tries-- {
		err = o.startAnew(ctx, err)
	}
	if err != nil {
		return err
	}
	up := &upkeep{db: o.DB, cap: changelog.NewCap(o.cfg.MaxLogBytes), clock: o.clock}
	o.foreign.Start(foreign.Rounds{
		Every: o.cfg.SyncInterval, IfFree: o.writer.IfFree, Closed: o.gate.IsShut, Do: up.round, Tell: up.tell,
	})
	return nil
}

// start opens the database that is there, or begins a new one. Before adopt it writes
// nothing except a restore into an empty place, so an earlier failure leaves everything as
// it was.
func (o *opening) start(ctx context.Context) error {
	if err := o.examine(ctx); err != nil {
		return err
	}
	if err := o.mayPromote(); err != nil {
		return err
	}
	if err := o.awaitRelease(ctx); err != nil {
		return err
	}
	if err := o.restoreMissing(ctx); err != nil {
		return err
	}
	if err := o.compareBucket(ctx); err != nil {
		return err
	}
	if o.found.id.Follower {
		if err := o.proveFollower(ctx); err != nil {
			return err
		}
	}
	if err := o.adopt(ctx); err != nil {
		return err
	}
	if err := o.openConns(); err != nil {
		return err
	}
	if err := o.writer.With(ctx, o.foreign.MarkOpen); err != nil {
		return err
	}
	if o.following != nil {
		return nil // its changes have the clocks of other machines
	}
	if err := o.clock.check(o.cfg.Log, o.uplink.logs); err != nil {
		return err
	}
	if o.uplink.bucket == nil {
		return nil
	}
	return o.startSync(ctx)
}

// takeFile resolves the file's path and locks out other writers.
func (o *opening) takeFile(ctx context.Context) (err error) {
	take := func() (*dbfile.File, error) { return dbfile.Take(o.cfg.Path) }
	if o.cfg.Path == Memory {
		// Memory uses a file in a private folder, so that it has readers beside its
		// writer, a log and snapshots like any other database. SQLite's own in-memory
		// databases have none of these: a reader blocks the writer there.
		take = dbfile.TakeTemp
	}
	if err := o.waitFor(ctx, dbfile.ErrLocked, lookAtFile, func() (err error) {
		o.file, err = take()
		return err
	}); err != nil {
		return err
	}
	o.path = o.file.Path()
	for _, why := range o.file.Dangers() {
		o.cfg.Log.Warn(event.FileAtRisk, why, "path", o.path)
	}
	return nil
}

// disconnect closes everything that was opened and will not be used further.
func (o *opening) disconnect() error {
	o.uplink.closeSync()
	err := o.release()
	if o.first != nil {
		err = errors.Join(err, o.first.Close())
	}
	o.uplink.sync, o.uplink.logs, o.writer, o.first = nil, nil, nil, nil
	o.conns.sql, o.conns.lender, o.conns.readers, o.conns.checkpoints = nil, nil, nil, nil
	return err
}

// abandon removes what a failed Open has created.
func (o *opening) abandon() error {
	if o.file == nil {
		return nil
	}
	return o.file.Abandon()
}

// adopt makes the file a DriftDB database, if it is not one yet.
func (o *opening) adopt(ctx context.Context) (err error) {
	if o.first == nil {
		if err := o.setAside(); err != nil {
			return err
		}
		if err := o.file.Create(); err != nil {
			return err
		}
		if err := o.look(); err != nil {
			return err
		}
	}
	if err := o.rehearse(ctx); err != nil {
		return notDatabase(err)
	}
	log := o.cfg.Log
	o.conns.checkpoints = sqlite.NewCheckpointer(o.path, o.file.Admit, func(err error) {
		log.Warn(event.CheckpointFailed, "the WAL could not be copied back into the database; it grows until that works", "error", err)
	})
	// The first connection becomes the log's.
	opts := o.options()
	opts.Synchronous = sqlite.SyncFull
	if err := errors.Join(o.first.KeepWAL(false), o.first.Reconfigure(opts)); err != nil {
		return err
	}
	if err := o.foreign.Begin(o.first, o.found.traces, o.proven || o.compared != nil && o.compared.Proven(), o.identify); err != nil {
		return err
	}
	last, err := changelog.Last(o.first)
	if err != nil {
		return err
	}
	db := o.DB
	o.hub = capture.NewShared(last, 0, func(barrier string) {
		db.tail.ring()
		db.foreign.Committed(barrier)
	})
	return nil
}

// identify creates DriftDB's tables if they are missing, and compares names.
func (o *opening) identify(c *sqlite.Conn) error {
	adopted, err := changelog.Init(c, o.cfg.NodeID)
	if err != nil {
		return err
	}
	if adopted == changelog.Foreign {
		o.cfg.Log.Info(event.Adopted, "adopted a database that was made without DriftDB; the bucket gets a snapshot of it first", "path", o.path)
	}
	if o.id, err = changelog.ReadIdentity(c); err != nil {
		return err
	}
	if o.id.Name == "" {
		o.id.Name = o.cfg.Name
		return changelog.SetName(c, o.cfg.Name)
	}
	return nil
}

// openConns opens the connections that the database works with.
func (o *opening) openConns() (err error) {
	if o.uplink.logs, err = changelog.Open(o.first); err != nil {
		return err
	}
	o.first = nil // closed with the log
	c, err := o.openCaptured()
	if err != nil {
		return err
	}
	var refuse error
	if o.onlyReads() {
		refuse = o.refusal()
	}
	db := o.DB
	o.conns.readers = sqlite.NewPool(o.cfg.MaxReaders, max(8, runtime.GOMAXPROCS(0)), func() (*sqlite.Conn, error) { return db.openReader(db.options()) })
	if o.writer, err = writer.New(c, writer.Options{
		Refuse: refuse, Hub: o.hub, Gate: o.gate, Log: o.cfg.Log, TakeOver: o.takeOver, Notice: o.foreign.Notice, BusyTimeout: o.cfg.BusyTimeout,
		Interrupt: func() { o.uplink.logs.Interrupt(); o.apart.interrupt() }, Readers: o.conns.readers,
	}); err != nil {
		return err
	}
	if err := o.foreign.Attach(o.hub, c); err != nil {
		return err
	}
	o.conns.lend(o.lender())
	o.conns.checkpoints.Spare(o.conns.readers, o.conns.oldestRead)
	return nil
}

// lender returns the source of the connections of the program's sql.DB.
func (o *opening) lender() lender {
	db := o.DB
	if o.following != nil {
		return readsql.New(func() (*sqlite.Conn, error) {
			c, err := db.openReader(db.options())
			return c, db.cfg.Public(err)
		}, db.cfg.Public(db.refusal()))
	}
	return capture.NewConnector(o.openCaptured,
		func() error { return db.cfg.Public(db.writer.Own()) }, func(ctx context.Context) error { return db.cfg.Public(db.writer.MayWrite(ctx)) }, o.writer.Lend())
}
