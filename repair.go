package driftdb

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/repair"
)

// RepairOptions say how [Repair] goes about it.
type RepairOptions struct {
	// File is the database's own file, if there is one. Nobody need have it open, and
	// nothing in it changes. It tells the id of the database, and where snapshots belong of
	// which the bucket has no more changes.
	File string

	// DatabaseID is the id of the database, where neither the bucket nor a file tells it.
	DatabaseID string

	Force  bool // replace a manifest that is there and damaged, and leave out what no key opens
	DryRun bool // say what would be done, and store nothing
}

// RepairResult is what a repair could prove of a backup, and what not.
type RepairResult struct {
	DatabaseID string
	NodeID     string // that the new manifest has as its writer
	Epoch      int64

	// Was is what was in the manifest's place. It is empty if nothing was.
	Was string

	// From and Sequence are the first and the last change of the history; the chain of
	// hashes proves all between them.
	From      int64
	Snapshots []SnapshotInfo // each restored, and compared with the changes around it
	Restored  RestoreResult  // the latest point, which was restored and checked

	// Left is what is no part of the history, by key. Objects that are branches stay what
	// they are. A snapshot in it is deleted by a later collection of garbage, as it would
	// be without a repair.
	Left []LeftObject
}

// LeftObject is an object of which a repair could not prove that it is part of the history.
type LeftObject struct {
	Key string
	Why error
}

// Repair makes the manifest of a backup anew, from the objects that are left, when it is
// gone or damaged. It proves what it says: every batch by its hashes and the chain, each
// snapshot by its digests and a restore that begins with it, and the latest point by a
// restore, as [Backup.Verify] does. It never guesses: where something is missing, the history
// ends before that, or begins with a snapshot behind it; where writers have parted, the
// latest one has the history, and what the others stored are branches.
//
// The new manifest has an epoch beyond all that were used. A writer that is still at work
// is told ([ErrFenced], or it goes on when it is opened again). A file that has
// changes which the history has not is ErrDiverged when it is opened.
//
// A manifest that is whole is an error, and so is a damaged one without Force: ErrCorrupt,
// whose text says what the manifest was. An object that none of the keys opens, or that a
// newer version has stored, is ErrKey or ErrVersion; with Force it is left out. It uses the
// network: it reads every batch up to five times and every snapshot two or three times, and
// needs the disk space of a restore in the system's folder for temporary files.
// Errors: ErrNoBackup where nothing is left, ErrCorrupt where nothing can be proven,
// ErrKey.
func Repair(ctx context.Context, cfg BackupConfig, o RepairOptions) (RepairResult, error) {
	res, err := runRepair(ctx, cfg, o)
	if err != nil {
		return RepairResult{Was: res.Was}, fail(fmt.Errorf("repair %s: %w", cfg.Name, err))
	}
	m := res.Manifest
	r := RepairResult{
		DatabaseID: m.DatabaseID, NodeID: m.NodeID, Epoch: m.Epoch, Was: res.Was, From: res.From,
		Restored: restored(res.Restored),
	}
	for _, s := range m.Snapshots {
		r.Snapshots = append(r.Snapshots, snapshotInfo(s))
	}
	for _, l := range res.Left {
		r.Left = append(r.Left, LeftObject(l))
	}
	return r, nil
}

func runRepair(ctx context.Context, cfg BackupConfig, o RepairOptions) (res repair.Result, err error) {
	b, err := cfg.backup(ctx)
	if err != nil {
		return res, err
	}
	opts := repair.Options{DatabaseID: o.DatabaseID, Force: o.Force, DryRun: o.DryRun, OnConnect: onConnect(ctx, b.onConnect)}
	if o.File != "" {
		if opts.Known, err = repair.ReadFile(o.File, cfg.Name); err != nil {
			return res, err
		}
	}
	return repair.Run(ctx, b.bucket, opts)
}
