package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

func (a *app) statusCommand() *cobra.Command {
	var p place
	c := &cobra.Command{
		Use:   "status --store URL [--name NAME]",
		Short: "List the databases in a store",
		Long: `List the databases in a store: each one's writer, last confirmed change, newest
snapshot and size. Below a database come its branches, which hold the changes
that a writer had not uploaded when another one took over, and its faults: what
is wrong with the database itself, such as a NULL in a NOT NULL column, as found
when its newest snapshot was checked. The backup has the same faults.

VERIFIED is the change up to which driftdb verify last verified the backup on
this machine, and when. It does not know of runs on other machines.

With --json the result is a list of {"database", "databaseId", "writer",
"epoch", "sequence", "updatedAt", "snapshots", "snapshotSequence",
"snapshotTime", "snapshotBytes", "objects", "bytes", "verifiedSequence",
"verifiedAt", "faults", "branches"}; branches is a list of {"id", "node",
"epoch", "from", "to", "bytes", "storedAt"}. Without faults there is no
"faults". A database that cannot be read, or has nothing to restore yet, has
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
	return errors.Join(append(failed, a.reportStatus(list))...)
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
	for _, br := range b.Branches {
		s.Branches = append(s.Branches, branchStatus{br.ID, br.NodeID, br.Epoch, br.From, br.To, br.Bytes, instant(br.Time)})
	}
	v := verifiedOf(storeURL, b)
	v.recall()
	s.VerifiedSequence, s.VerifiedAt = v.Sequence, instant(v.VerifiedAt)
	return databaseStatus{Database: b.Name, backupStatus: s}
}

func (a *app) reportStatus(list []databaseStatus) error {
	if a.json {
		return a.stdout.JSON(list)
	}
	if len(list) == 0 {
		return nil
	}
	table := [][]string{{"DATABASE", "WRITER", "EPOCH", "SEQUENCE", "UPDATED", "SNAPSHOT", "OBJECTS", "SIZE", "VERIFIED"}}
	for _, s := range list {
		table = append(table, s.line())
	}
	lines, err := terminal.Align(table)
	if err != nil {
		return err
	}
	out, flush := a.stdout.Buffered()
	branches := 0
	for i, line := range lines { // a line for each database, then its faults and branches
		out.Printf("%s\n", line) // flush returns the error
		if i == 0 || list[i-1].backupStatus == nil {
			continue
		}
		for _, fault := range list[i-1].Faults {
			out.Printf("  fault: %s\n", fault)
		}
		for _, b := range list[i-1].Branches {
			out.Printf("  branch %s: changes %d to %d, %s, stored %s\n", b.ID, b.From, b.To, size(b.Bytes), b.StoredAt)
			branches++
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if branches > 0 {
		a.stderr.Printf("hint: driftdb restore --branch ID writes a branch, with the history before it, to a file\n")
	}
	return nil
}

// line returns the row of the table.
func (s databaseStatus) line() []string {
	if s.backupStatus == nil {
		what := "unreadable"
		if s.Error == nothingYet {
			what = nothingYet
		}
		return []string{s.Database, what}
	}
	snapshot, verified := "-", "-"
	if s.Snapshots > 0 {
		snapshot = fmt.Sprintf("%d of %s (%s)", s.SnapshotSequence, s.SnapshotTime, size(s.SnapshotBytes))
	}
	if !s.VerifiedAt.IsZero() {
		verified = fmt.Sprintf("%d at %s", s.VerifiedSequence, s.VerifiedAt)
	}
	return []string{
		s.Database, s.Writer, fmt.Sprint(s.Epoch), fmt.Sprint(s.Sequence), s.UpdatedAt.String(),
		snapshot, fmt.Sprint(s.Objects), size(s.Bytes), verified,
	}
}
