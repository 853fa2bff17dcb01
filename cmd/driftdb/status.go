package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

func (a *app) statusCommand() *cobra.Command {
	var p place
	c := &cobra.Command{
		Use:   "status --store URL [--name NAME]",
		Short: "List the databases in a store",
		Long: `List the databases in a store: each one's last confirmed change, the earliest
point that can be restored, newest snapshot, size and writer. Below a database
come its branches, which hold the changes that a writer had not uploaded when
another one took over, and its faults: what is wrong with the database itself,
such as a NULL in a NOT NULL column, as found when its newest snapshot was
checked. The backup has the same faults. Where a backup cannot be read, its row
says why.

A fork stands below the database it came from. "Kept for" says what garbage
collection keeps only because forks need it.

VERIFIED is when driftdb verify last verified the backup on this machine. It
does not know of runs on other machines.

On a terminal the table shows ages and this machine's time, and leaves out the
columns for which there is no room. Elsewhere, each database is a line with all
columns and tabs between them: the times are in UTC, SIZE is in bytes, EARLIEST
is the number of a change. A line that begins with a tab is about the database
before it.

With --json the result is a list of {"database", "databaseId", "writer",
"epoch", "sequence", "updatedAt", "earliestSequence", "earliestTime",
"snapshots", "snapshotSequence", "snapshotTime", "snapshotBytes", "objects",
"bytes", "verifiedSequence", "verifiedAt", "faults", "branches", "forkOf",
"forks", "heldObjects", "heldBytes"}; branches is a list of {"id", "node",
"epoch", "from", "to", "bytes", "storedAt"}, forkOf is {"database",
"databaseId", "sequence"}. Without faults there is no "faults", and so with the
last four. A database that cannot be read, or has nothing to restore yet, has
"database" and "error" only.`,
	}
	p.flags(c)
	return a.command(c, func(ctx context.Context, _ []string) error {
		return a.runStatus(ctx, p, c.Flags().Changed("name"))
	}, "store")
}

// databaseStatus is one line of a status.
type databaseStatus struct {
	Database string `json:"database"`
	Error    string `json:"error,omitempty"`
	*backupStatus
}

type backupStatus struct {
	DatabaseID       string         `json:"databaseId"`
	Writer           string         `json:"writer"`
	Epoch            int64          `json:"epoch"`
	Sequence         int64          `json:"sequence"`
	UpdatedAt        instant        `json:"updatedAt,omitzero"`
	EarliestSequence int64          `json:"earliestSequence"`
	EarliestTime     instant        `json:"earliestTime,omitzero"`
	Snapshots        int            `json:"snapshots"`
	SnapshotSequence int64          `json:"snapshotSequence,omitzero"`
	SnapshotTime     instant        `json:"snapshotTime,omitzero"`
	SnapshotBytes    int64          `json:"snapshotBytes,omitzero"`
	Objects          int            `json:"objects"`
	Bytes            int64          `json:"bytes"`
	VerifiedSequence int64          `json:"verifiedSequence,omitzero"`
	VerifiedAt       instant        `json:"verifiedAt,omitzero"`
	Faults           []string       `json:"faults,omitempty"`
	Branches         []branchStatus `json:"branches"`
	ForkOf           *forkOf        `json:"forkOf,omitempty"`
	Forks            []string       `json:"forks,omitempty"`
	HeldObjects      int            `json:"heldObjects,omitzero"`
	HeldBytes        int64          `json:"heldBytes,omitzero"`
}

// forkOf is where a fork began.
type forkOf struct {
	Database   string `json:"database"`
	DatabaseID string `json:"databaseId"`
	Sequence   int64  `json:"sequence"`
}

type branchStatus struct {
	ID       string  `json:"id"`
	Node     string  `json:"node"`
	Epoch    int64   `json:"epoch"`
	From     int64   `json:"from"`
	To       int64   `json:"to"`
	Bytes    int64   `json:"bytes"`
	StoredAt instant `json:"storedAt,omitzero"`
}

// nothingYet stands for a database without a manifest: its writer has not yet
// stored anything that can be restored.
const nothingYet = "nothing restorable yet"

func (a *app) runStatus(ctx context.Context, p place, one bool) error {
	if one {
		b, err := a.open(ctx, p)
		if err != nil {
			return err
		}
		info, err := b.Info(ctx)
		if err != nil {
			return err
		}
		return a.reportStatus([]databaseStatus{statusOf(p.url, info)})
	}
	store, err := openStore(ctx, p.url)
	if err != nil {
		return err
	}
	keys, err := a.keys()
	if err != nil {
		return err
	}
	names, err := driftdb.ListBackups(ctx, driftdb.BackupConfig{Store: store})
	if err != nil {
		return err
	}
	if len(names) == 0 {
		a.stderr.Printf("the store holds no databases\n")
		a.hintElsewhere(ctx, store, "")
	}
	list, failed := []databaseStatus{}, []error(nil)
	for _, name := range names {
		info, err := infoOf(ctx, driftdb.BackupConfig{Name: name, Store: store, EncryptionKeys: keys})
		if errors.Is(err, driftdb.ErrNoBackup) {
			list = append(list, databaseStatus{Database: name, Error: nothingYet})
			continue
		}
		if err != nil {
			list, failed = append(list, databaseStatus{Database: name, Error: err.Error()}), append(failed, err)
			continue
		}
		list = append(list, statusOf(p.url, info))
	}
	if err := a.reportStatus(list); err != nil {
		return err
	}
	if len(failed) == 0 {
		return nil
	}
	return unreadable{len(list), failed} // the rows say why
}

// unreadable reports that some backups of a store cannot be read. Its exit code and next
// step are those of the first one.
type unreadable struct {
	of   int
	errs []error
}

func (e unreadable) Error() string {
	return fmt.Sprintf("%d of %s cannot be read", len(e.errs), plural(int64(e.of), "backup", "backups"))
}

func (e unreadable) Unwrap() []error { return e.errs }

// earliest is the first point of a backup that can be restored. Its time is known where it is
// that of a snapshot.
func earliest(b driftdb.BackupInfo) (sequence int64, at time.Time) {
	for _, s := range b.Snapshots {
		if s.Sequence >= b.First-1 && (b.First > 1 || s.Sequence <= 1) {
			return s.Sequence, s.Time
		}
	}
	return b.First, time.Time{}
}

func infoOf(ctx context.Context, cfg driftdb.BackupConfig) (driftdb.BackupInfo, error) {
	b, err := driftdb.OpenBackup(ctx, cfg)
	if err != nil {
		return driftdb.BackupInfo{}, err
	}
	return b.Info(ctx)
}

func statusOf(storeURL string, b driftdb.BackupInfo) databaseStatus {
	s := &backupStatus{
		DatabaseID: b.DatabaseID, Writer: b.NodeID, Epoch: b.Epoch, Sequence: b.Sequence, UpdatedAt: instant(b.UpdatedAt),
		Snapshots: len(b.Snapshots), Objects: b.Objects, Bytes: b.Bytes, Branches: []branchStatus{},
	}
	if n := len(b.Snapshots); n > 0 {
		newest := b.Snapshots[n-1]
		s.SnapshotSequence, s.SnapshotTime, s.SnapshotBytes = newest.Sequence, instant(newest.Time), newest.Size
		s.Faults = newest.Faults
	}
	from, at := earliest(b)
	s.EarliestSequence, s.EarliestTime = from, instant(at)
	for _, br := range b.Branches {
		s.Branches = append(s.Branches, branchStatus{br.ID, br.NodeID, br.Epoch, br.From, br.To, br.Bytes, instant(br.Time)})
	}
	if f := b.Fork; f != nil {
		s.ForkOf = &forkOf{f.Name, f.DatabaseID, f.Sequence}
	}
	s.Forks, s.HeldObjects, s.HeldBytes = b.Held.Forks, b.Held.Objects, b.Held.Bytes
	v := verifiedOf(storeURL, b)
	v.recall()
	s.VerifiedSequence, s.VerifiedAt = v.Sequence, instant(v.VerifiedAt)
	return databaseStatus{Database: b.Name, backupStatus: s}
}
