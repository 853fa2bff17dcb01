package driftdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/wrap"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/s3store"
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
// All methods use the network. None of them changes the bucket, except Rekey and
// RekeyAfterLeak. Their errors are ErrNoBackup, ErrCorrupt, ErrKey and ErrVersion, and
// ErrNoStore for the Backup of a database that has no store.
type Backup struct {
	bucket    *remote.Bucket // nil: there is no store
	log       event.Log
	onConnect func(context.Context, *Registrar) error
}

// ListBackups lists the names of the databases in a store. It ignores Name and
// EncryptionKeys of cfg. It uses the network.
func ListBackups(ctx context.Context, cfg BackupConfig) ([]string, error) {
	store, err := cfg.store(ctx)
	if err != nil {
		return nil, fail(err)
	}
	names, err := remote.Databases(ctx, cfg.retrying(store))
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
	if _, err := b.bucket.Existing(ctx); err != nil {
		return nil, fail(err)
	}
	return b, nil
}

// Backup returns what the bucket holds of this database. It uses the database's own
// store, keys and retries, and also works after Close.
func (db *DB) Backup() *Backup {
	return &Backup{bucket: db.engine.bucket, log: db.log, onConnect: db.cfg.OnConnect}
}

// open is the backup that cfg names, of which nothing has been read yet.
func (cfg BackupConfig) open(ctx context.Context) (*Backup, error) {
	b, err := cfg.backup(ctx)
	if err != nil {
		return nil, fail(err)
	}
	return b, nil
}

func (cfg BackupConfig) backup(ctx context.Context) (*Backup, error) {
	if err := remote.CheckName("Name", cfg.Name); err != nil {
		return nil, err
	}
	store, err := cfg.store(ctx)
	if err != nil {
		return nil, err
	}
	opts, err := sealing(CompressionGzip, cfg.EncryptionKeys)
	if err != nil {
		return nil, err
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &Backup{bucket: remote.New(cfg.retrying(store), cfg.Name, opts), log: event.To(log.With("database", cfg.Name).Handler()), onConnect: cfg.OnConnect}
	b.bucket.ExplainMissing(func(ctx context.Context) string { return elsewhere(ctx, store, cfg.Name) })
	return b, nil
}

// store makes the store's client: the one that there is of it.
func (cfg BackupConfig) store(ctx context.Context) (objstore.Store, error) {
	switch {
	case cfg.S3 == nil && cfg.Store == nil:
		return nil, ErrNoStore
	case cfg.S3 != nil && cfg.Store != nil:
		return nil, errors.New("both S3 and Store are set; choose one")
	case cfg.Retry.BaseDelay < 0 || cfg.Retry.MaxDelay < 0:
		return nil, fmt.Errorf("a delay of Retry is negative (%s, %s)", cfg.Retry.BaseDelay, cfg.Retry.MaxDelay)
	}
	return openStore(ctx, cfg.S3, cfg.Store)
}

func (cfg BackupConfig) retrying(store objstore.Store) objstore.Store {
	return wrap.Retry(wrap.Doubting(store), cfg.Retry.policy())
}

// elsewhere says if a bucket without a backup under the prefix that was asked has one
// under the other common prefix, and how to name that.
func elsewhere(ctx context.Context, store objstore.Store, name string) string {
	other, at := s3store.Elsewhere(store)
	if other == nil {
		return ""
	}
	names, err := remote.Databases(ctx, other)
	if err != nil || !slices.Contains(names, name) {
		return ""
	}
	return fmt.Sprintf("the bucket has it under another prefix: use --store '%s', in Go S3Config.Prefix %q", at.URL, at.Prefix)
}

// BackupInfo describes what a bucket holds of a database.
type BackupInfo struct {
	Name       string
	DatabaseID string
	NodeID     string         // of the last writer
	Epoch      int64          // of its session
	Sequence   int64          // of the last change that the manifest confirms
	UpdatedAt  time.Time      // when the manifest was last replaced
	Snapshots  []SnapshotInfo // oldest first
	Branches   []BranchInfo   // oldest epoch first
	Objects    int            // of the database, of any kind
	Bytes      int64          // their total size
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

// Info describes the backup. It makes one request for the manifest, and two for each
// thousand objects.
func (b *Backup) Info(ctx context.Context) (BackupInfo, error) {
	if b.bucket == nil {
		return BackupInfo{}, ErrNoStore
	}
	m, err := b.bucket.Existing(ctx)
	if err != nil {
		return BackupInfo{}, fail(err)
	}
	info := BackupInfo{
		Name: m.Name, DatabaseID: m.DatabaseID, NodeID: m.NodeID, Epoch: m.Epoch,
		Sequence: m.LatestSequence, UpdatedAt: restore.TimeOf(m.UpdatedAt),
	}
	for _, s := range m.Snapshots {
		info.Snapshots = append(info.Snapshots, snapshotInfo(s))
	}
	branches, err := b.bucket.Branches(ctx, m.Manifest)
	if err != nil {
		return BackupInfo{}, fail(err)
	}
	for _, br := range branches {
		info.Branches = append(info.Branches, BranchInfo{ID: br.ID(), NodeID: br.NodeID, Epoch: br.Epoch, From: br.From, To: br.To, Bytes: br.Bytes, Time: br.Time})
	}
	info.Objects, info.Bytes, err = b.bucket.Usage(ctx)
	return info, fail(err)
}
