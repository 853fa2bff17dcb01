package driftdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/heartbeat"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
)

// Config says which database to open and how to sync it with a bucket. Name and Path are
// required; for every other field, the zero value means the default. A negative number
// turns off what the field limits or times; where that makes no sense, it is an error. If
// several things are wrong with a Config, the error of Open lists them all.
type Config struct {
	// Name of the database in the bucket: 1 to 128 letters, digits, dots, underscores and
	// hyphens. The file remembers its name; opening it under another one is an error.
	Name string

	// Path of the SQLite file; missing folders are created. A new file gets mode 0666
	// less the umask. ":memory:" is a database that lives until Close, in a private
	// folder in the system's temporary directory.
	Path string

	// NodeID identifies this copy of the database in the bucket. Default: a random ID
	// that the file remembers.
	NodeID string

	// S3 is the bucket to sync with. Default: none, and nothing leaves the machine.
	S3 *S3Config

	// Store is any other place to sync with, such as objstore.Dir. Set S3 or Store, not
	// both.
	Store objstore.Store

	// ManualSync turns off syncing in the background; Flush and StartSync sync. Open
	// still sends one request, without waiting for the answer, to see whether the bucket
	// is ahead of the file: an event and Metrics.Behind report it. Default: sync runs
	// from Open to Close.
	ManualSync bool

	// ReadOnly opens the file without writing to it and without locking out its writer:
	// any number of readers can work beside one writer, in this process and in others.
	// Writes, Flush and Snapshot return ErrReadOnly. Nothing is sent to the bucket;
	// Changes and Backup may read from it. A missing file is an error. With AutoRestore,
	// Open first downloads a missing file, and updates one that is behind unless a writer
	// has it open; while it does, it writes to the file and locks it. If that fails, an
	// existing file is opened as it is, with a warning.
	ReadOnly bool

	// SyncInterval is how long changes are collected before they are sent together.
	// Default 5 s; negative is an error: see ManualSync.
	SyncInterval time.Duration

	// SyncGap is how far apart uploads for callers of WaitSynced begin at least. Each
	// carries everything committed by then, however many calls wait for it. The first one
	// after a quiet time begins at once. Up to 1 min. Default 100 ms; negative: the next
	// one begins when the last one has ended.
	SyncGap time.Duration

	// CloseTimeout limits how long Close spends sending pending changes. Default 5 s;
	// negative: Close sends nothing.
	CloseTimeout time.Duration

	// ManifestInterval is how often the manifest is replaced while changes are being
	// sent; Flush replaces it at once. Default 1 min; negative is an error.
	ManifestInterval time.Duration

	// SnapshotEvery is how many changes must follow a snapshot before the next one is
	// taken; they must also amount to half its size. Default 1000; negative: a snapshot
	// is taken only by Snapshot, and where the log alone could not restore the database.
	// The bucket then keeps the whole log.
	SnapshotEvery int

	// MaxBatchSize limits the number of changes in an uploaded batch; a transaction is
	// never split. Default, and negative: no limit other than 8 MiB of JSON.
	MaxBatchSize int

	// Compression of uploads. Default CompressionGzip.
	Compression Compression

	// EncryptionKeys encrypt uploads with AES-256. Each is 64 hex digits; see
	// [KeysFromEnv]. The first encrypts, all decrypt. If you lose them, you lose the
	// backup. Neither fmt nor a logger prints them. Default: no encryption.
	EncryptionKeys []string

	// Retry says how failed requests are retried.
	Retry RetryPolicy

	// AutoRestore makes Open download the database from the bucket if the file is
	// missing. If the bucket has nothing either, Open creates a new database.
	AutoRestore bool

	// Retention is how far back every point in time can be restored. Objects that only
	// older points need are deleted from the bucket, at the earliest a day after the
	// manifest stopped naming them. Ages are measured by the store's clock. Default 30
	// days; negative: only batches that have been merged are ever deleted.
	Retention time.Duration

	// MaxLogBytes limits the unsent log. If it grows larger, because the bucket cannot be
	// reached or there is none, it is dropped: a barrier takes its place, and a snapshot
	// follows as soon as possible. That loses history, but no data. Default: 256 MiB or
	// twice the size of the database, whichever is more. Negative: no limit.
	MaxLogBytes int64

	// RefuseTakeover leaves the database to another node that writes to it: Open returns
	// ErrLocked or, if the bucket did not answer Open, the first upload fails with it,
	// and so do all writes after that. A node that has closed the database and sent
	// everything no longer counts as its writer. Nodes are told apart by NodeID: set it
	// so that a node with a new disk can continue. Default: the first change of this
	// session takes the database over. The other node notices when it next writes to the
	// bucket: its writes fail with ErrFenced, and what it had not sent is kept as a
	// branch.
	RefuseTakeover bool

	// LockWait is how long Open waits for another process that has the file open and,
	// with RefuseTakeover, for another node that writes to the database. Default, and
	// negative: Open does not wait, but returns ErrLocked at once.
	LockWait time.Duration

	// AdvisoryFencing allows a store that ignores conditional writes, which the
	// protection against a second writer depends on. Two writers at the same time can
	// then overwrite each other's data. Default: such a store is refused.
	AdvisoryFencing bool

	// BusyTimeout is how long a statement waits for a lock held by another process or by
	// a transaction of db.SQL(). Default 10 s; negative: it does not wait.
	BusyTimeout time.Duration

	// CacheBytes limits the page cache, which all connections of the database share: the
	// readers, the writer and those of SQL. The least recently used page makes room for a
	// new one, so a connection that reads alone can use nearly all of it. Only pages in
	// use at the moment can exceed the limit; a transaction that changes more than that
	// writes some of them early. In addition, each connection takes about 400 KiB, a sort
	// up to an eighth of CacheBytes, and a restore or Verify 48 MiB of its own. PRAGMA
	// cache_size affects only the memory of sorts. If the program has registered another
	// page cache with the driver, each connection has up to an eighth of CacheBytes. From
	// 1 MiB to 1 TiB; anything else, including a negative number, is an error. Default 64
	// MiB.
	CacheBytes int64

	// MaxReaders limits how many connections read at the same time for repositories,
	// Select, ReadTx and Changes. When all are busy, the next read waits until one is
	// free or its context ends. A loop over rows and a ReadTx hold their connection until
	// they end, and a read of the database inside one takes a second connection: set
	// MaxReaders higher than the number of such loops that run at the same time, or they
	// wait for each other. Connections of SQL do not count; SQL().SetMaxOpenConns limits
	// them. Up to 8 idle connections (or as many as there are processors, if that is
	// more) are kept for a minute. From 1 to 10,000. Default, and negative: no limit.
	MaxReaders int

	// OnConnect registers the SQL functions, collations and virtual-table modules that
	// the program's statements and its schema need. It is called for each connection that
	// DriftDB opens: its own, those of SQL, and those that restore and verify. Calls can
	// run concurrently. What it registers belongs to that connection only. If it returns
	// an error, Open fails, or whatever needs the connection. ctx carries the values of
	// Open's context and never ends.
	OnConnect func(ctx context.Context, r *Registrar) error

	// HeartbeatURL gets a GET request after each manifest that confirms more than the last
	// one, and from which all that the bucket has can be restored. A service such as
	// healthchecks.io, a dead-man's switch, raises the alarm when none comes. A database
	// to which nobody writes sends none; see ManifestInterval for how often others do.
	// Requests are sent beside syncing, one at a time, a second apart or more, and what is
	// confirmed meanwhile shares the next one. An attempt has 10 s, and a failed one is
	// repeated twice; then an event says so (EventHeartbeatFailed), and nothing else comes
	// of it. Redirects are followed within the host. Close waits up to 2 s for the last
	// request. It goes through the proxy of the environment, if there is one. http:// or
	// https://; needs S3 or Store. Neither fmt, a logger nor an error prints the URL,
	// since it usually holds a token. Default: none.
	HeartbeatURL string

	// Logger receives what happens in the background, with the attributes scope and kind:
	// see EventKind. Default: if OnEvent is not set either, warnings and errors go to
	// slog.Default(), the same one at most once a minute. slog.New(slog.DiscardHandler)
	// silences them.
	Logger *slog.Logger

	// OnEvent is called for the same events, one at a time, where they happen. It can
	// read and write the database, and so can a Logger's handler. Close, Shutdown, Flush,
	// Snapshot and CollectGarbage return an error there, because they would wait for the
	// call itself: call them on another goroutine, and do not wait for it.
	OnEvent func(Event)
}

// RetryPolicy says how often a failed request is retried, and how long to wait before
// each retry: BaseDelay, doubled each time up to MaxDelay, less some jitter. What still
// fails waits for the next interval. The zero value means 5 retries, from 500 ms to 30 s.
type RetryPolicy struct {
	MaxRetries          int           // negative: no retries
	BaseDelay, MaxDelay time.Duration // negative is an error
}

// Compression is the method by which uploads are compressed.
type Compression int

// The compression methods.
const (
	CompressionGzip Compression = iota // a gzip stream, readable with gunzip
	CompressionNone                    // uncompressed
)

// engine converts c to the engine's form. The error lists the problems that the engine
// cannot find; the engine finds the rest and fills in the defaults.
func (c Config) engine() (engine.Config, error) {
	var problems []error
	backup, err := BackupConfig{Name: c.Name, S3: c.S3, Store: c.Store, EncryptionKeys: c.EncryptionKeys, Retry: c.Retry, OnConnect: c.OnConnect}.internal()
	if err != nil {
		problems = append(problems, fmt.Errorf("EncryptionKeys: %w", err))
	}
	if c.Compression != CompressionGzip && c.Compression != CompressionNone {
		problems = append(problems, fmt.Errorf("Compression is %d; give CompressionGzip or CompressionNone", c.Compression))
	}
	var beat *heartbeat.Target
	if c.HeartbeatURL != "" {
		if beat, err = heartbeat.Parse(c.HeartbeatURL); err != nil {
			problems = append(problems, fmt.Errorf("HeartbeatURL: %w", err))
		}
	}
	backup.Log = event.To(eventLogger(c.Logger, c.OnEvent, c.Name).Handler())
	return engine.Config{
		Config: backup, Path: c.Path, NodeID: c.NodeID, Compression: seal.Compression(c.Compression), AdvisoryFencing: c.AdvisoryFencing,
		ManualSync: c.ManualSync, ReadOnly: c.ReadOnly, AutoRestore: c.AutoRestore, RefuseTakeover: c.RefuseTakeover,
		SyncInterval: c.SyncInterval, SyncGap: c.SyncGap, CloseTimeout: c.CloseTimeout, ManifestInterval: c.ManifestInterval,
		SnapshotEvery: c.SnapshotEvery, MaxBatchSize: c.MaxBatchSize, Retention: c.Retention, MaxLogBytes: c.MaxLogBytes,
		LockWait: c.LockWait, BusyTimeout: c.BusyTimeout, CacheBytes: c.CacheBytes, MaxReaders: c.MaxReaders, Heartbeat: beat, Public: fail,
	}, errors.Join(problems...)
}
