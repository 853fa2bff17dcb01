package driftdb

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/follow"
)

// FollowConfig says how to follow a backup. The zero value means the defaults.
type FollowConfig struct {
	// PollInterval is how often the follower asks the store for news. While there are
	// none, the interval doubles up to a minute; as soon as something comes, it is
	// PollInterval again. From 10 ms to 1 h; default 5 s. If the store can tell that
	// something was stored, as [objstore.Dir] can, the follower waits for that instead,
	// and asks once a minute.
	PollInterval time.Duration

	// CacheBytes, MaxReaders and BusyTimeout of Follower.DB are as in Config.
	CacheBytes  int64
	MaxReaders  int
	BusyTimeout time.Duration

	// Logger and OnEvent are as in Config. In OnEvent and in a Logger's handler, Close and
	// Promote would wait for themselves, and return an error.
	Logger  *slog.Logger
	OnEvent func(Event)

	// OnProgress is called while the file, or later a copy of it, is restored.
	OnProgress func(Progress)
}

// Follower is a copy of a database that another writer writes: a file that [Backup.Follow]
// keeps up to date with the backup. Many goroutines can call its methods at the same time.
type Follower struct {
	f    *follow.Follower
	b    *backup.Backup
	path string
	mu   sync.Mutex
	db   *DB // see DB
}

// Follow makes the file at path a follower of the backup: a copy that only reads, and that
// is brought up to date in the background until Close.
//
// A missing file is restored, as by Restore. A file that was a follower of this backup
// before goes on where it was, without another restore. Any other file is left as it is,
// and is an error. Follow locks the file as a writer does: one follower has it (ErrLocked).
// Other programs can read it meanwhile, with Config.ReadOnly.
//
// The follower applies whole batches of transactions, in one transaction each, and only
// what the manifest confirms, which no other writer can take back: at any moment, and after
// a crash, the file is what the source was after one of its commits, and it never goes
// back. How far it is behind depends on the writer, which replaces the manifest every
// Config.ManifestInterval, and on PollInterval.
//
// Follow uses the network, and returns when the file has what the manifest confirms. If the
// file exists and the store does not answer, after BackupConfig.Retry, it catches up later.
// What goes wrong after that is retried, and reported by events, Metrics and Err. Errors are
// those of Restore, and fs.ErrExist for a file that is not a follower's, ErrDiverged for one
// that follows another database, and ErrRolledBack if the backup has less than the file.
// docs/FOLLOWERS.md describes what a follower goes through, and what it costs.
func (b *Backup) Follow(ctx context.Context, path string, cfg FollowConfig) (*Follower, error) {
	c := follow.Config{
		Config: engine.Config{
			Config: b.b.Config(), Path: path, Public: fail,
			CacheBytes: cfg.CacheBytes, MaxReaders: cfg.MaxReaders, BusyTimeout: cfg.BusyTimeout,
		},
		Interval: cfg.PollInterval, Progress: progress(cfg.OnProgress),
	}
	c.Log = event.To(eventLogger(cfg.Logger, cfg.OnEvent, c.Name).Handler())
	f, err := follow.Open(ctx, b.b, c)
	if err != nil {
		return nil, fail(fmt.Errorf("follow %s: %w", c.Name, err))
	}
	return &Follower{f: f, b: b.b, path: path}, nil
}

// DB returns the database, for reading: repositories, Select, ReadTx, SQL and Changes
// work, and every write is ErrReadOnly. It moves forward by whole transactions; to read
// several times from the same state, use ReadTx. Do not Close it: it is closed with the
// follower, and its own Close is an error.
func (f *Follower) DB() *DB {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.f.DB(); f.db == nil || f.db.engine != now {
		f.db = &DB{engine: now}
	}
	return f.db
}

// Sequence returns the number of the last change that DB shows.
func (f *Follower) Sequence() int64 { return f.f.Sequence() }

// WaitFor returns when DB shows the change with this number, for example one that the
// writer has told to the client that now reads here. It asks the store at once, and more
// often than PollInterval while it waits. It returns the error of ctx, ErrClosed after
// Close, and the error of Err if the follower cannot go on.
func (f *Follower) WaitFor(ctx context.Context, sequence int64) error {
	return fail(f.f.WaitFor(ctx, sequence))
}

// Lag returns how old the state that DB shows may be: the time since the follower last
// found that it has all that the manifest confirms. It does not depend on clocks being
// right. What the writer has committed and its manifest does not confirm yet comes on top.
func (f *Follower) Lag() time.Duration { return f.f.Lag() }

// Err returns why the follower cannot go on, or nil while it follows. A failure that may
// pass is not returned: see FollowerMetrics.LastError.
func (f *Follower) Err() error { return fail(f.f.Err()) }

// FollowerMetrics describe a follower. Counters start at Follow.
type FollowerMetrics struct {
	Sequence  int64         // of the last change that DB shows
	Confirmed int64         // of the last change that the manifest confirmed at the last poll
	Lag       time.Duration // see Follower.Lag

	LastPoll    time.Time // when the store last answered; zero: not yet
	LastApplied time.Time // when changes were last applied; zero: not yet
	LastChange  time.Time // when the last change was made, by the clock of its writer

	Polls     int64 // requests for the manifest
	Unchanged int64 // how many of them found the same manifest
	Requests  int64 // to the store, including retries
	Batches   int64 // applied
	Changes   int64 // in them
	Bytes     int64 // read from the store
	Rebases   int64 // how often the follower began again from a snapshot, because the log could not bring it up to date
	Failures  int64 // how often following failed; it is retried

	WALSizeBytes int64         // of the file; it grows while a read holds on to an old state
	OldestRead   time.Duration // how long the oldest read of this program has been open; see Metrics

	Stalled   bool  // it has not been able to follow for a minute
	LastError error // of the last poll; nil if it went well
}

// Metrics returns the current state. It reads the disk, and uses no network.
func (f *Follower) Metrics() FollowerMetrics {
	m := FollowerMetrics(f.f.Metrics())
	m.LastError = fail(m.LastError)
	return m
}

// Close ends following and closes the database. It interrupts what it is doing, and
// returns when no file is open and no goroutine is running; reads of DB end as by
// DB.Close. The file stays, and a later Follow goes on from there.
func (f *Follower) Close() error { return fail(f.f.Close()) }
