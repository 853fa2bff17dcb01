package driftdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/pagecache"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
	"github.com/driftdb/driftdb-go/internal/wrap"
	"github.com/driftdb/driftdb-go/internal/writer"
	lib "modernc.org/sqlite/lib"
)

// memory is the Path of a database that is not kept.
const memory = ":memory:"

// Open opens a database, and makes it if it is missing; see [Config]. A SQLite
// file that DriftDB has never seen is adopted: the bucket gets a snapshot of it first.
// If it has free pages, it is read through before, and refused if it is damaged
// (ErrCorrupt).
//
// Open touches the disk. It asks the bucket when it has to restore, and, unless
// syncing is manual, whether the file is up to date with it. One that is behind and
// has nothing of its own is brought up to date, also behind a writer that is alive.
// Open waits 0.6 s for the bucket to begin to answer, 3 s if it has never seen the
// file, and not at all if the bucket did not answer in the last minutes; the comparison
// is then made in the background. An Open that fails
// leaves the file as it was, and makes none. ctx bounds Open only.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, fmt.Errorf("driftdb: open: %w", err)
	}
	db := newDB(ctx, cfg)
	if cfg.ReadOnly {
		return db.openReadOnly(ctx)
	}
	return db.opened(ctx)
}

func newDB(ctx context.Context, cfg Config) *DB {
	db := &DB{cfg: cfg, log: cfg.Logger, gate: writer.NewGate(), guard: guard{wake: make(chan struct{}, 1)}}
	db.cache = pagecache.New(cfg.CacheBytes)
	db.onConnect = onConnect(context.WithoutCancel(ctx), cfg.OnConnect)
	return db
}

// opened is the database when it is open.
func (db *DB) opened(ctx context.Context) (*DB, error) {
	if err := db.open(ctx); err != nil {
		if ctx.Err() != nil && sqlite.Stopped(err) {
			err = context.Cause(ctx)
		}
		if db.file != nil {
			err = db.file.Explain(err)
		}
		if sqlite.Code(err) == lib.SQLITE_READONLY { // and this user may write it
			err = fmt.Errorf("SQLite only reads this file: its header asks for a later version to write it (%v)", err)
		}
		return nil, errors.Join(fail(db.opening(err)), db.disconnect(), db.abandon())
	}
	return db, nil
}

// opening is err with the path that was to be opened. What has failed at the file itself
// has named it already.
func (db *DB) opening(err error) error {
	path := db.path
	if path == "" {
		path, _ = filepath.Abs(db.cfg.Path)
	}
	if path != "" && strings.Contains(err.Error(), path) {
		return err
	}
	return fmt.Errorf("open %s: %w", db.cfg.Path, err)
}

func (db *DB) open(ctx context.Context) error {
	db.lockUntil = time.Now().Add(db.cfg.LockWait)
	if err := db.takeFile(ctx); err != nil {
		return err
	}
	if err := db.openBucket(ctx); err != nil {
		return err
	}
	err := db.start(ctx)
	for errors.Is(err, syncer.ErrHeld) && time.Now().Before(db.lockUntil) { // another one was faster
		if err = db.disconnect(); err == nil {
			err = db.start(ctx)
		}
	}
	for tries := maxRestores; tries > 0 && db.outdated(err); tries-- {
		err = db.startAnew(ctx, err)
	}
	if err != nil {
		return err
	}
	db.guard.start(db)
	return nil
}

// start opens what is in the place, or begins it. Up to adopt nothing is written
// there but what a restore puts in an empty place: what fails before has left all
// as it was.
func (db *DB) start(ctx context.Context) error {
	if err := db.examine(ctx); err != nil {
		return err
	}
	if err := db.awaitRelease(ctx); err != nil {
		return err
	}
	if err := db.restoreMissing(ctx); err != nil {
		return err
	}
	if err := db.compareBucket(ctx); err != nil {
		return err
	}
	if err := db.adopt(ctx); err != nil {
		return err
	}
	if err := db.openConns(); err != nil {
		return err
	}
	if err := db.writer.With(ctx, db.noteOpen); err != nil {
		return err
	}
	if err := db.checkClock(); err != nil {
		return err
	}
	if db.bucket == nil {
		return nil
	}
	return db.startSync(ctx)
}

// startSync makes the engine, and starts it unless that is left to the user.
func (db *DB) startSync(ctx context.Context) error {
	if err := db.openSync(); err != nil {
		return err
	}
	if db.cfg.ManualSync {
		db.sync.Glance(db.direct)
		return nil
	}
	if err := db.joinBucket(ctx); err != nil {
		return err
	}
	if db.refreshing {
		return nil
	}
	if db.cfg.RefuseTakeover && db.compared != nil { // whoever refuses as well sees from now on that the name is taken
		if err := db.judge(ctx, db.sync.TakeOver(ctx, db.direct, checkTimeout)); err != nil {
			return err
		}
	}
	db.sync.Start()
	return nil
}

// takeFile finds the file's place and keeps other writers out of it.
func (db *DB) takeFile(ctx context.Context) (err error) {
	path := db.cfg.Path
	if path == memory {
		// A file in a private folder, so that it has readers beside its writer, a
		// log and snapshots like any other. SQLite's own memory databases have none
		// of that: a reader stops the writer there.
		if db.temp, err = dbfile.NewTemp(); err != nil {
			return err
		}
		path = db.temp.Path()
	}
	if err := db.waitFor(ctx, dbfile.ErrLocked, lookAtFile, func() (err error) {
		db.file, err = dbfile.Take(path)
		return err
	}); err != nil {
		return err
	}
	db.path = db.file.Path()
	for _, why := range db.file.Dangers() {
		db.log.Warn(why, "scope", "open", "path", db.path)
	}
	return nil
}

// abandon removes what a failed Open has made.
func (db *DB) abandon() error {
	var err error
	if db.file != nil {
		err = db.file.Abandon()
	}
	if db.temp != nil {
		err = errors.Join(err, db.temp.Close())
	}
	return err
}

// openBucket makes the way to the bucket.
func (db *DB) openBucket(ctx context.Context) error {
	store, err := openStore(ctx, db.cfg.S3, db.cfg.Store)
	if err != nil || store == nil {
		return err
	}
	opts, err := sealing(db.cfg.Compression, db.cfg.EncryptionKeys)
	if err != nil {
		return err
	}
	db.cfg.S3, db.cfg.EncryptionKeys = nil, nil // the bucket has them, and nobody else
	if db.cfg.AdvisoryFencing {
		store = wrap.Advisory(store)
	}
	db.meter = &wrap.Meter{Store: store}
	doubting := wrap.Doubting(db.meter)
	db.direct = remote.New(wrap.Prompt(doubting, db.patience), db.cfg.Name, opts)
	db.bucket = remote.New(wrap.Retry(doubting, db.cfg.Retry.policy()), db.cfg.Name, opts)
	return nil
}

// adopt makes the file DriftDB's, if it is not yet, and opens its writer.
func (db *DB) adopt(ctx context.Context) (err error) {
	if db.first == nil {
		if err := db.setAside(); err != nil {
			return err
		}
		if err := db.file.Create(); err != nil {
			return err
		}
		if err := db.look(); err != nil {
			return err
		}
	}
	if err := db.rehearse(ctx); err != nil {
		return notDatabase(err)
	}
	db.checkpoints = sqlite.NewCheckpointer(db.path, db.file.Admit, func(err error) {
		db.log.Warn("the WAL could not be copied back into the database; it grows until that works", "scope", "checkpoint", "error", err)
	})
	// The first connection goes on as the log's.
	opts := db.options()
	opts.Synchronous = sqlite.SyncFull
	if err := errors.Join(db.first.KeepWAL(false), db.first.Reconfigure(opts)); err != nil {
		return err
	}
	if err := db.admit(db.first); err != nil {
		return err
	}
	last, err := changelog.Last(db.first)
	if err != nil {
		return err
	}
	db.hub = capture.NewHub(last, 0, func(barrier string) {
		if db.sync != nil {
			db.sync.Wake()
		}
		if barrier != "" {
			db.guard.tell(barrier)
		}
	})
	db.hub.Watch(db.checkFile)
	return nil
}

// admit gives the file our tables, and finds out whether it belongs to this
// name and whether others may have written to it. That is put down in the
// transaction that changes anything at all: were it to follow, a crash in
// between could hide it.
func (db *DB) admit(c *sqlite.Conn) (err error) {
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Rollback()) }()
	same, err := db.unchanged(c)
	if err != nil {
		return err
	}
	same = same || db.compared != nil && db.compared.Proven()
	if err := db.identify(c); err != nil {
		return err
	}
	if !same {
		if err := changelog.Barrier(c, changedWhileClosed); err != nil {
			return err
		}
	}
	if err := c.Exec("COMMIT"); err != nil {
		return err
	}
	if !same {
		db.guard.tell(changedWhileClosed)
	}
	return nil
}

// identify makes our tables if they are missing, and compares names.
func (db *DB) identify(c *sqlite.Conn) error {
	adopted, err := changelog.Init(c, db.cfg.NodeID)
	if err != nil {
		return err
	}
	if adopted == changelog.Foreign {
		db.log.Info("adopted a database that was made without DriftDB; the bucket gets a snapshot of it first", "scope", "open", "path", db.path)
	}
	if db.id, err = changelog.ReadIdentity(c); err != nil {
		return err
	}
	if db.id.Name == "" {
		db.id.Name = db.cfg.Name
		return changelog.SetName(c, db.cfg.Name)
	}
	return nil
}

// options are those of every connection that writes. None but the first may make
// the file, and each has to be one to the file that the first has locked.
func (db *DB) options() sqlite.Options {
	return sqlite.Options{
		BusyTimeout: db.cfg.BusyTimeout, Cache: db.cache, CacheKiB: int(db.cfg.CacheBytes >> 13), ForeignKeys: true, Checkpointer: db.checkpoints, Ledger: &db.ledger,
		MustExist: true, Claim: db.file.Admit, OnConnect: db.onConnect,
	}
}

// openReader opens a connection that only reads.
func (db *DB) openReader(opts sqlite.Options) (*sqlite.Conn, error) {
	opts.QueryOnly, opts.Ledger = true, nil
	c, err := sqlite.Open(db.path, opts)
	if err == nil {
		return c, nil
	}
	if gone := db.checkFile(); gone != nil {
		return nil, gone
	}
	return nil, db.file.Explain(err)
}

// openConns opens the connections that the database works with.
func (db *DB) openConns() (err error) {
	if db.logs, err = changelog.Open(db.first); err != nil {
		return err
	}
	db.first = nil // it is closed with the log
	c, err := db.openCaptured()
	if err != nil {
		return err
	}
	db.writer = writer.New(c, writer.Options{
		Hub: db.hub, Gate: db.gate, Log: db.log, TakeOver: db.takeOver, Notice: db.notice, Interrupt: db.logs.Interrupt,
	})
	if err := errors.Join(db.file.Watch(), c.Barrier(changedSchema, true)); err != nil {
		return err
	}
	db.readers = sqlite.NewPool(db.cfg.MaxReaders, max(8, runtime.GOMAXPROCS(0)), func() (*sqlite.Conn, error) { return db.openReader(db.options()) })
	db.lender = capture.NewConnector(db.openCaptured,
		func() error { return fail(db.writer.Own()) }, func(ctx context.Context) error { return fail(db.writer.MayWrite(ctx)) })
	db.sql = sql.OpenDB(db.lender)
	db.sql.SetConnMaxIdleTime(time.Minute)
	return nil
}

// openSync makes the engine.
func (db *DB) openSync() (err error) {
	db.sync, err = syncer.New(syncer.Config{
		Log: db.logs, Bucket: db.bucket, Path: db.path,
		Sequence: db.hub.Sequence, Advance: db.hub.Advance,
		StandBack: db.writer.StandBack, Refuse: func(err error) { db.hub.Refuse(fail(err)) }, Contest: db.hub.Contest,
		Writer: func() (*sqlite.Conn, error) {
			opts := db.options()
			opts.Synchronous, opts.ForeignKeys, opts.Distrust = sqlite.SyncFull, false, true
			return sqlite.Open(db.path, opts)
		},
		Reader: func() (*sqlite.Conn, error) {
			if err := db.checkFile(); err != nil { // a snapshot of a mixture is none
				return nil, err
			}
			opts := db.options()
			opts.ForeignKeys = false
			return db.openReader(opts)
		},
		Interval: db.cfg.SyncInterval, ManifestInterval: db.cfg.ManifestInterval,
		SnapshotEvery: int64(db.cfg.SnapshotEvery),
		Retention:     db.cfg.Retention, Exclusive: db.cfg.RefuseTakeover, Advisory: db.cfg.AdvisoryFencing,
		Limits: changelog.Limits{Bytes: batchBytes, Entries: int64(db.cfg.MaxBatchSize)},
		Logger: db.log,
	})
	return err
}

// How long Open waits for an answer of the bucket on whether the file is up to date, or
// a file that DriftDB has never seen belongs there. As long as there are answers, Open
// goes on: the file may have to be brought up to date.
const (
	checkTimeout = 600 * time.Millisecond
	firstTimeout = 3 * time.Second
)

// patience is how long Open waits for an answer.
func (db *DB) patience() time.Duration {
	if db.first == nil || db.found.adopted != changelog.Known {
		return firstTimeout
	}
	return checkTimeout
}

// compareBucket compares what was found with the bucket, if that answers. It
// changes neither.
func (db *DB) compareBucket(ctx context.Context) error {
	db.compared = nil
	if db.bucket == nil || db.cfg.ManualSync {
		return nil
	}
	file, err := db.described()
	if err != nil {
		return err
	}
	if db.silent = file.Silent(); db.silent {
		return nil
	}
	c, err := syncer.Compare(ctx, db.direct, file, db.cfg.RefuseTakeover)
	if err == nil {
		db.compared = &c
	}
	return db.judge(ctx, err)
}

// described is what the file says of itself; nothing, if it is new to DriftDB.
func (db *DB) described() (syncer.File, error) {
	if db.first == nil || db.found.adopted != changelog.Known {
		return syncer.File{}, nil
	}
	unchanged, err := db.asLeft(db.first)
	if err != nil {
		return syncer.File{}, err
	}
	return syncer.Look(db.first, unchanged)
}

// joinBucket does what the comparison asks for: it brings the file up to date.
func (db *DB) joinBucket(ctx context.Context) error {
	if db.compared == nil { // it did not answer
		db.sync.CheckLater()
		return nil
	}
	return db.judge(ctx, db.sync.Check(ctx, db.direct, db.compared))
}

// judge is an error that the bucket has given while Open compares the file with it.
// Only what somebody has to decide keeps the database from being opened.
func (db *DB) judge(ctx context.Context, err error) error {
	switch {
	case err == nil, ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syncer.ErrDiverged), errors.Is(err, syncer.ErrHeld), errors.Is(err, remote.ErrConditions), errors.Is(err, remote.ErrHeadless),
		errors.Is(err, restore.ErrCannotCatchUp), errors.Is(fail(err), ErrKey), errors.Is(fail(err), ErrVersion):
		return err
	}
	db.log.Warn("the file could not be compared with its bucket; the database works, and sync goes on trying", "scope", "sync", "error", err)
	return nil
}
