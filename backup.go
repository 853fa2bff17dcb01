package driftdb

import (
	"context"
	"log/slog"
	"time"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/objstore"
)

// BackupConfig names a backup: what a bucket holds of a database.
type BackupConfig struct {
	Name string // of the database in the bucket

	S3             *S3Config      // where the backup is: set this
	Store          objstore.Store // or this
	EncryptionKeys []string       // as in Config

	// Retry says how failed requests are retried. Default: as in Config.
	Retry RetryPolicy

	// Logger receives what is worth knowing about the backup but is no error, such as a
	// damaged snapshot that a restore could do without. Results report the same. Default:
	// nothing is logged.
	Logger *slog.Logger

	// OnConnect is as in Config. A restore needs what the schema uses: modules, and the
	// functions and collations of indexes and generated columns.
	OnConnect func(ctx context.Context, r *Registrar) error
}

// Backup is what a bucket holds of a database: [OpenBackup] opens it without the
// database, and [DB.Backup] returns that of an open one. Many goroutines can call its
// methods at the same time; they share one client of the store. Each call reads the
// manifest again, so it sees what the bucket has at that time. There is nothing to close.
//
// All methods use the network. None of them changes the bucket, except Fork, Delete, Rekey
// and RekeyAfterLeak. Their errors are ErrNoBackup, ErrCorrupt, ErrKey and ErrVersion, and
// ErrNoStore for the Backup of a database that has no store.
type Backup struct{ b *backup.Backup }

// ListBackups lists the names of the databases in a store. It ignores Name and
// EncryptionKeys of cfg. It uses the network: a listing of the databases, and one of those
// that were deleted.
func ListBackups(ctx context.Context, cfg BackupConfig) ([]string, error) {
	cfg.EncryptionKeys = nil
	c, err := cfg.internal()
	if err != nil {
		return nil, fail(err)
	}
	names, err := backup.List(ctx, c)
	return names, fail(err)
}

// OpenBackup opens the backup that cfg names. It uses the network: it reads the manifest
// once, to return an error if there is no such backup (ErrNoBackup), it is damaged
// (ErrCorrupt, see [Repair]), a key is missing (ErrKey), or a newer version wrote it
// (ErrVersion).
func OpenBackup(ctx context.Context, cfg BackupConfig) (*Backup, error) {
	b, err := cfg.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.b.Exists(ctx); err != nil {
		return nil, fail(err)
	}
	return b, nil
}

// Backup returns what the bucket holds of this database. It uses the database's own
// store, keys and retries, and also works after Close.
func (db *DB) Backup() *Backup { return &Backup{db.engine.Backup()} }

// open returns the backup that cfg names, without reading anything yet.
func (cfg BackupConfig) open(ctx context.Context) (*Backup, error) {
	c, err := cfg.internal()
	if err != nil {
		return nil, fail(err)
	}
	b, err := backup.Open(ctx, c)
	if err != nil {
		return nil, fail(err)
	}
	return &Backup{b}, nil
}

// internal converts cfg to the form that the internal packages take. The error is about
// its keys.
func (cfg BackupConfig) internal() (backup.Config, error) {
	ring, err := seal.ParseKeys(cfg.EncryptionKeys)
	out := backup.Config{Name: cfg.Name, Store: cfg.Store, Keys: ring, Retry: retry.Policy(cfg.Retry)}
	if cfg.S3 != nil {
		s3 := cfg.S3.bucket()
		out.S3 = &s3
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	out.Log = event.To(log.With("database", cfg.Name).Handler())
	if cfg.OnConnect != nil {
		out.OnConnect = func(ctx context.Context, r *sqlite.Registrar) error { return cfg.OnConnect(ctx, &Registrar{r}) }
	}
	return out, err
}

// BackupInfo describes what a bucket holds of a database.
type BackupInfo struct {
	Name       string
	DatabaseID string
	NodeID     string         // of the last writer
	Epoch      int64          // of its session
	First      int64          // the first change that the log can have; earlier ones are only in a snapshot
	Sequence   int64          // of the last change that the manifest confirms
	UpdatedAt  time.Time      // when the manifest was last replaced
	Writers    []WriterInfo   // whose changes the history consists of, oldest first; the last one is the writer
	Snapshots  []SnapshotInfo // oldest first
	Branches   []BranchInfo   // oldest epoch first
	Objects    int            // of the database, of any kind
	Bytes      int64          // their total size
	Fork       *ForkOrigin    // where the database began, if it is a fork
	Held       HeldForForks   // what garbage collection keeps for forks
}

// WriterInfo describes the part of the history that one session wrote. Where another
// NodeID follows, that node took the database over.
type WriterInfo struct {
	NodeID   string
	Epoch    int64
	From, To int64 // its changes; To is 0 if it can write more
}

// ForkOrigin is the point of another database at which a fork began.
type ForkOrigin struct {
	Name       string
	DatabaseID string
	Sequence   int64
}

// HeldForForks is what forks need of a backup.
type HeldForForks struct {
	Forks   []string // the databases that use objects of this one
	Objects int      // those that the database itself needs no more
	Bytes   int64    // their total size
}

// BranchInfo describes what a writer stored that is not part of the history, because
// another writer took over from it. RestoreOptions.Branch restores it.
type BranchInfo struct {
	ID       string // for RestoreOptions.Branch
	NodeID   string
	Epoch    int64
	From, To int64 // its changes; before From, the history is shared
	Bytes    int64
	Time     time.Time // when the newest of its objects was stored
}

// Info describes the backup. It makes one request for the manifest, two for each thousand
// objects, one for the forks, and one or two more for each fork.
func (b *Backup) Info(ctx context.Context) (BackupInfo, error) {
	have, err := b.b.Info(ctx)
	if err != nil {
		return BackupInfo{}, fail(err)
	}
	m := have.Manifest
	info := BackupInfo{
		Name: m.Name, DatabaseID: m.DatabaseID, NodeID: m.NodeID, Epoch: m.Epoch,
		First: m.Begins() + 1, Sequence: m.LatestSequence, UpdatedAt: restore.TimeOf(m.UpdatedAt), Objects: have.Objects, Bytes: have.Bytes,
		Held: HeldForForks(have.Held),
	}
	if p := m.Parent; p != nil {
		info.Fork = &ForkOrigin{p.Name, p.DatabaseID, p.Sequence}
	}
	for _, s := range m.Lineage {
		info.Writers = append(info.Writers, WriterInfo(s))
	}
	for _, s := range m.Snapshots {
		info.Snapshots = append(info.Snapshots, snapshotInfo(s))
	}
	for _, br := range have.Branches {
		info.Branches = append(info.Branches, BranchInfo{ID: br.ID(), NodeID: br.NodeID, Epoch: br.Epoch, From: br.From, To: br.To, Bytes: br.Bytes, Time: br.Time})
	}
	return info, nil
}

// BatchInfo describes a batch: changes that are one object in the bucket.
type BatchInfo struct {
	NodeID   string // of the session that stored it
	Epoch    int64
	From, To int64
	Bytes    int64
	Time     time.Time // when it was stored, by the store's clock; small batches are merged later
}

// Batches lists the batches that hold the log, oldest first, without reading them. Those of
// a fork's origins are not among them. It makes one request for the manifest, and one for
// each thousand objects.
func (b *Backup) Batches(ctx context.Context) ([]BatchInfo, error) {
	stored, err := b.b.Batches(ctx)
	out := make([]BatchInfo, 0, len(stored))
	for _, o := range stored {
		out = append(out, BatchInfo{o.NodeID, o.Epoch, o.From, o.To, o.Size, o.Time})
	}
	return out, fail(err)
}
