package driftdb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/objstore"
)

// Backups lists the names of the databases that a store holds. It uses the
// network.
func Backups(ctx context.Context, store objstore.Store) ([]string, error) {
	names, err := remote.Databases(ctx, store)
	return names, fail(err)
}

// BackupInfo describes what a bucket holds of a database.
type BackupInfo struct {
	Name       string
	DatabaseID string
	NodeID     string         // of the last writer
	Epoch      int64          // of its session
	Sequence   int64          // up to which the manifest confirms changes
	UpdatedAt  time.Time      // when it did so last
	Snapshots  []SnapshotInfo // oldest first
	Branches   []BranchInfo   // oldest epoch first
	Objects    int            // of the database, of whatever kind
	Bytes      int64          // of all of them
}

// BranchInfo describes what a writer has stored that is no part of the history:
// another one had taken over from it. RestoreConfig.Branch restores it.
type BranchInfo struct {
	ID       string // for RestoreConfig.Branch
	NodeID   string
	Epoch    int64
	From, To int64 // its changes; the history before From is common
	Bytes    int64
	Time     time.Time // when the newest of its objects was stored
}

// Backup describes the backup that cfg names; Path, At and Sequence are not
// looked at. It uses the network: one request for the manifest, and two for
// each thousand objects.
func Backup(ctx context.Context, cfg RestoreConfig) (BackupInfo, error) {
	b, err := cfg.bucket(ctx)
	if err != nil {
		return BackupInfo{}, fail(fmt.Errorf("driftdb: %w", err))
	}
	m, err := b.Existing(ctx)
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
	branches, err := b.Branches(ctx, m.Manifest)
	if err != nil {
		return BackupInfo{}, fail(err)
	}
	for _, br := range branches {
		info.Branches = append(info.Branches, BranchInfo{ID: br.ID(), NodeID: br.NodeID, Epoch: br.Epoch, From: br.From, To: br.To, Bytes: br.Bytes, Time: br.Time})
	}
	info.Objects, info.Bytes, err = b.Usage(ctx)
	return info, fail(err)
}

// History yields the changes that a backup holds, from sequence from on,
// oldest first; Path, At and Sequence of cfg are not looked at. Each batch is
// proven before its changes are yielded. It uses the network. After an error it
// yields nothing more.
func History(ctx context.Context, cfg RestoreConfig, from int64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		b, err := cfg.bucket(ctx)
		if err == nil && from < 0 {
			err = errors.New("the sequence to start from is negative")
		}
		if err != nil {
			yield(Change{}, fail(fmt.Errorf("driftdb: %w", err)))
			return
		}
		for c, err := range history(ctx, b, from, 0) {
			if !yield(c, fail(err)) {
				return
			}
		}
	}
}
