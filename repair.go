package driftdb

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/repair"
)

// RepairOptions say how to [Repair] a backup.
type RepairOptions struct {
	// File is the database's own file, if there is one. It may be open or not, and is not
	// changed. It supplies the database's ID, and the places in the history of snapshots
	// whose changes are no longer in the bucket.
	File string

	// DatabaseID is the database's ID. Set it if neither the bucket nor a file supplies
	// it.
	DatabaseID string

	Force  bool // replace a damaged manifest, and leave out objects that no key decrypts
	DryRun bool // report what would be done, and store nothing
}

// RepairResult is what a repair could and could not verify of a backup.
type RepairResult struct {
	DatabaseID string
	NodeID     string // of the writer, in the new manifest
	Epoch      int64

	// Was describes the damaged manifest. It is empty if there was none.
	Was string

	// From is the first change of the history; the chain of hashes proves every change
	// from it to Restored.Sequence, the last one.
	From      int64
	Snapshots []SnapshotInfo // each was restored, and compared with the changes around it
	Restored  RestoreResult  // the latest point, which was restored and checked

	// Left lists the objects that are not part of the history, by key. Objects that are
	// branches stay branches. A later garbage collection deletes the snapshots among
	// them, as it would without a repair.
	Left []LeftObject
}

// LeftObject is an object that a repair could not prove to be part of the history.
type LeftObject struct {
	Key string
	Why error
}

// Repair rebuilds a missing or damaged manifest of a backup from the remaining objects.
// It verifies everything that it writes: every batch by its hashes and the chain, each
// snapshot by its digests and a restore that begins with it, and the latest point by a
// restore, as [Backup.Verify] does. It never guesses: where something is missing, the
// history ends before the gap, or begins with a snapshot after it. If several writers
// diverged, the history is the latest one's, and what the others stored are branches.
//
// The new manifest has an epoch higher than any used before. A writer that is still
// active notices: it fails with [ErrFenced], or continues once it is opened again. A file
// with changes that the history lacks is ErrDiverged when it is opened.
//
// An intact manifest is an error. A damaged one is ErrCorrupt, whose text describes it,
// unless Force or DryRun is set. An object that no key decrypts, or that a newer version
// stored, is ErrKey or ErrVersion; with Force it is left out. Repair uses the network: it
// reads every batch up to five times and every snapshot two or three times. It needs the
// disk space of a restore in the system's folder for temporary files. Errors: ErrNoBackup
// if nothing is left, ErrCorrupt if nothing can be verified, ErrKey.
func Repair(ctx context.Context, cfg BackupConfig, o RepairOptions) (RepairResult, error) {
	c, err := cfg.internal()
	if err != nil {
		return RepairResult{}, fail(fmt.Errorf("repair %s: %w", cfg.Name, err))
	}
	res, err := backup.Repair(ctx, c, o.File, repair.Options{DatabaseID: o.DatabaseID, Force: o.Force, DryRun: o.DryRun})
	if err != nil {
		return RepairResult{Was: res.Was}, fail(err)
	}
	m := res.Manifest
	r := RepairResult{
		DatabaseID: m.DatabaseID, NodeID: m.NodeID, Epoch: m.Epoch, Was: res.Was, From: res.From,
		Restored: restoreResult(res.Restored),
	}
	for _, s := range m.Snapshots {
		r.Snapshots = append(r.Snapshots, snapshotInfo(s))
	}
	for _, l := range res.Left {
		r.Left = append(r.Left, LeftObject(l))
	}
	return r, nil
}
