package driftdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/inside"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
	"github.com/gofrs/flock"
)

// memory is the Path of a database that is not kept.
const memory = ":memory:"

// Open opens a database, and makes it if it is missing; see [Config]. A SQLite
// file that DriftDB has never seen is adopted: the bucket gets a snapshot of it
// first.
//
// Open touches the disk. It asks the bucket when it has to restore, and, unless
// syncing is manual, whether the file is up to date with it; a bucket that does
// not answer within a few seconds is no error. ctx bounds Open only.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, fmt.Errorf("driftdb: open: %w", err)
	}
	db := &DB{cfg: cfg, log: cfg.Logger, token: make(chan struct{}, 1), txs: inside.New(), closed: make(chan struct{}), guard: guard{wake: make(chan struct{}, 1)}}
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(export(fmt.Errorf("open %s: %w", cfg.Path, err)), db.release())
	}
	return db, nil
}

func (db *DB) open(ctx context.Context) error {
	if err := db.claim(); err != nil {
		return err
	}
	if err := db.connect(ctx); err != nil {
		return err
	}
	if err := db.fetch(ctx); err != nil {
		return err
	}
	if err := db.prepare(); err != nil {
		return err
	}
	if err := db.openConns(); err != nil {
		return err
	}
	if err := db.noteCut(); err != nil {
		return err
	}
	if db.bucket != nil {
		if err := db.startSync(ctx); err != nil {
			return err
		}
	}
	db.guard.start(db)
	return nil
}

// startSync makes the engine, and starts it unless that is left to the user.
func (db *DB) startSync(ctx context.Context) error {
	if err := db.openSync(); err != nil || db.cfg.ManualSync {
		return err
	}
	if err := db.checkBucket(ctx); err != nil {
		return err
	}
	db.sync.Start()
	return nil
}

// claim finds the file's place and keeps other writers out of it.
func (db *DB) claim() error {
	if db.cfg.Path == memory {
		return db.claimMemory()
	}
	path, err := resolve(db.cfg.Path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	db.path = path
	if db.file, err = lockFile(path); err != nil {
		return err
	}
	return removeLeftovers(path)
}

// resolve finds the file that path means: one file, one lock, whatever it is
// called.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return path, nil
}

// lockFile keeps other writers of ours away from the database at path. The
// lock is on a file beside it: SQLite's locks on the database itself end when
// anybody in the process closes it.
func lockFile(path string) (*flock.Flock, error) {
	lock := flock.New(path+"-lock", flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s has a writer; a file can have one at a time", ErrLocked, path)
	}
	return lock, nil
}

// removeLeftovers deletes the working folders of snapshots and restores that a
// crash has cut short. We hold the file's lock, so they are nobody's.
func removeLeftovers(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		for _, suffix := range []string{syncer.CopySuffix, restore.TempSuffix} {
			if ok, _ := filepath.Match(escapeGlob(filepath.Base(path)+suffix)+"*", e.Name()); ok && e.IsDir() {
				if err := os.RemoveAll(filepath.Join(filepath.Dir(path), e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// connect makes the way to the bucket.
func (db *DB) connect(ctx context.Context) error {
	store, err := openStore(ctx, db.cfg.S3, db.cfg.Store)
	if err != nil || store == nil {
		return err
	}
	opts, err := sealing(db.cfg.Compression, db.cfg.EncryptionKeys)
	if err != nil {
		return err
	}
	if db.cfg.AdvisoryFencing {
		store = remote.Advisory(store)
	}
	db.meter = &meter{Store: store}
	db.direct = remote.New(db.meter, db.cfg.Name, opts)
	db.bucket = remote.New(retry.Store(db.meter, db.cfg.Retry.policy()), db.cfg.Name, opts)
	return nil
}

// prepare opens the file for the first time: it has to be a database, gets our
// tables, and has to belong to this name.
func (db *DB) prepare() error {
	tail, err := sqlite.ReadWAL(db.path)
	if err != nil {
		return err
	}
	plain := new(sqlite.Driver)
	look, err := plain.Open(db.path, sqlite.Options{KeepJournal: true, BusyTimeout: db.cfg.BusyTimeout})
	if err == nil {
		defer look.Close() // not yet: the last one to close tidies up the WAL, and what it tells of
		// Before anything is changed, the journal mode included.
		_, err = look.Int("SELECT count(*) FROM main.sqlite_schema")
	}
	if err != nil {
		if sqlite.IsNotDatabase(err) {
			return fmt.Errorf("%w: it is no SQLite database, and was left as it is: %w", ErrCorrupt, err)
		}
		return err
	}
	db.checkpoints = sqlite.NewCheckpointer(db.path, func(err error) {
		db.log.Warn("the WAL could not be copied back into the database; it grows until that works", "scope", "checkpoint", "error", err)
	})
	c, err := plain.Open(db.path, db.options())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := db.admit(c, tail); err != nil {
		return err
	}
	last, err := changelog.Last(c)
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
	// While the other two are still open: the WAL that the ledger has begun with
	// goes with the last connection.
	db.writer, err = capture.Open(db.path, db.options(), db.hub)
	return err
}

// admit gives the file our tables, and finds out whether it belongs to this
// name and whether others may have written to it. That is put down in the
// transaction that changes anything at all: were it to follow, a crash in
// between could hide it.
func (db *DB) admit(c *sqlite.Conn, tail sqlite.WALTail) (err error) {
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Rollback()) }()
	same, err := db.unchanged(c, tail)
	if err != nil {
		return err
	}
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
	switch db.id.Name {
	case db.cfg.Name:
	case "":
		if err := changelog.SetName(c, db.cfg.Name); err != nil {
			return err
		}
		db.id.Name = db.cfg.Name
	default:
		return fmt.Errorf("the file belongs to the database %q, not to %q; restore a free copy to use it under another name", db.id.Name, db.cfg.Name)
	}
	return nil
}

// options are those of every connection that writes.
func (db *DB) options() sqlite.Options {
	return sqlite.Options{BusyTimeout: db.cfg.BusyTimeout, CacheKiB: 64000, ForeignKeys: true, Checkpointer: db.checkpoints, Ledger: &db.ledger}
}

// openConns opens the connections that the database works with.
func (db *DB) openConns() (err error) {
	if err := db.writer.Barrier(changedSchema, true); err != nil {
		return err
	}
	plain := new(sqlite.Driver)
	opts := db.options()
	opts.Synchronous, opts.CacheKiB = sqlite.SyncFull, 0
	c, err := plain.Open(db.path, opts)
	if err != nil {
		return err
	}
	if db.logs, err = changelog.Open(c); err != nil {
		return errors.Join(err, c.Close())
	}
	db.readers = sqlite.NewPool(max(4, runtime.GOMAXPROCS(0)), func() (*sqlite.Conn, error) {
		opts := db.options()
		opts.QueryOnly, opts.Ledger = true, nil
		return plain.Open(db.path, opts)
	})
	db.captured = capture.NewConnector(db.openCaptured)
	db.sql = sql.OpenDB(db.captured)
	return nil
}

// openSync makes the engine.
func (db *DB) openSync() (err error) {
	db.sync, err = syncer.New(syncer.Config{
		Log: db.logs, Bucket: db.bucket, Path: db.path,
		Sequence: db.hub.Sequence, StandBack: db.exclusive, Refuse: func(err error) { db.hub.Refuse(export(err)) },
		Reader: func() (*sqlite.Conn, error) {
			return new(sqlite.Driver).Open(db.path, sqlite.Options{BusyTimeout: db.cfg.BusyTimeout, QueryOnly: true, MustExist: true, Checkpointer: db.checkpoints})
		},
		Interval: db.cfg.SyncInterval, ManifestInterval: db.cfg.ManifestInterval,
		SnapshotEvery: int64(db.cfg.SnapshotEvery),
		Retention:     db.cfg.Retention, Exclusive: db.cfg.Takeover == Refuse, Advisory: db.cfg.AdvisoryFencing,
		Limits: changelog.Limits{Bytes: batchBytes, Entries: int64(db.cfg.MaxBatchSize)},
		Logger: db.log,
	})
	return err
}

// checkTimeout is how long Open waits for the bucket's word on whether the
// file is up to date.
const checkTimeout = 3 * time.Second

// checkBucket compares the file with the bucket, if that answers.
func (db *DB) checkBucket(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := db.sync.Check(bounded, db.direct)
	switch {
	case err == nil, ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syncer.ErrDiverged), errors.Is(err, syncer.ErrHeld), errors.Is(err, remote.ErrConditions),
		errors.Is(export(err), ErrKey), errors.Is(export(err), ErrVersion):
		return err
	}
	db.log.Warn("the bucket cannot be reached; the database works, and sync goes on trying", "scope", "sync", "error", err)
	return nil
}
