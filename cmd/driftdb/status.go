package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

func (a *app) statusCommand() *cobra.Command {
	var p place
	c := &cobra.Command{
		Use:   "status --store URL [--name NAME]",
		Short: "List the databases in a store",
		Long: `List the databases in a store: who writes to them, up to which change they are
confirmed, the newest snapshot, and what they take up.

With --json the result is a list of {"database", "databaseId", "writer",
"epoch", "sequence", "updatedAt", "snapshots", "snapshotSequence",
"snapshotTime", "snapshotBytes", "objects", "bytes"}; one that cannot be read
has "database" and "error" only.`,
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
	DatabaseID       string  `json:"databaseId"`
	Writer           string  `json:"writer"`
	Epoch            int64   `json:"epoch"`
	Sequence         int64   `json:"sequence"`
	UpdatedAt        instant `json:"updatedAt,omitzero"`
	Snapshots        int     `json:"snapshots"`
	SnapshotSequence int64   `json:"snapshotSequence,omitzero"`
	SnapshotTime     instant `json:"snapshotTime,omitzero"`
	SnapshotBytes    int64   `json:"snapshotBytes,omitzero"`
	Objects          int     `json:"objects"`
	Bytes            int64   `json:"bytes"`
}

func (a *app) runStatus(ctx context.Context, p place, one bool) error {
	if one {
		cfg, err := a.open(ctx, p)
		if err != nil {
			return err
		}
		info, err := driftdb.Backup(ctx, cfg)
		if err != nil {
			return err
		}
		return a.reportStatus([]databaseStatus{statusOf(info)})
	}
	store, err := openStore(ctx, p.url)
	if err != nil {
		return err
	}
	keys, err := a.keys()
	if err != nil {
		return err
	}
	names, err := driftdb.Backups(ctx, store)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		fmt.Fprintln(a.stderr, "the store holds no database")
	}
	list, failed := []databaseStatus{}, []error(nil)
	for _, name := range names {
		info, err := driftdb.Backup(ctx, driftdb.RestoreConfig{Name: name, Store: store, EncryptionKeys: keys})
		if err != nil {
			list, failed = append(list, databaseStatus{Database: name, Error: err.Error()}), append(failed, err)
			continue
		}
		list = append(list, statusOf(info))
	}
	return errors.Join(append(failed, a.reportStatus(list))...)
}

func statusOf(b driftdb.BackupInfo) databaseStatus {
	s := &backupStatus{
		DatabaseID: b.DatabaseID, Writer: b.NodeID, Epoch: b.Epoch, Sequence: b.Sequence, UpdatedAt: instant(b.UpdatedAt),
		Snapshots: len(b.Snapshots), Objects: b.Objects, Bytes: b.Bytes,
	}
	if n := len(b.Snapshots); n > 0 {
		newest := b.Snapshots[n-1]
		s.SnapshotSequence, s.SnapshotTime, s.SnapshotBytes = newest.Sequence, instant(newest.Time), newest.Size
	}
	return databaseStatus{Database: b.Name, backupStatus: s}
}

func (a *app) reportStatus(list []databaseStatus) error {
	if a.json {
		return writeJSON(a.stdout, list)
	}
	if len(list) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DATABASE\tWRITER\tEPOCH\tSEQUENCE\tUPDATED\tSNAPSHOT\tOBJECTS\tSIZE")
	for _, s := range list {
		if s.backupStatus == nil {
			fmt.Fprintf(w, "%s\tunreadable\n", s.Database)
			continue
		}
		snapshot := "-"
		if s.Snapshots > 0 {
			snapshot = fmt.Sprintf("%d of %s (%s)", s.SnapshotSequence, s.SnapshotTime, size(s.SnapshotBytes))
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%d\t%s\n",
			s.Database, s.Writer, s.Epoch, s.Sequence, s.UpdatedAt, snapshot, s.Objects, size(s.Bytes))
	}
	return w.Flush()
}
