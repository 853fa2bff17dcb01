package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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

A fork stands below the database it came from. "Kept for" says what garbage
collection keeps only because forks need it.

VERIFIED is the change up to which driftdb verify last verified the backup on
this machine, and when. It does not know of runs on other machines.

With --json the result is a list of {"database", "databaseId", "writer",
"epoch", "sequence", "updatedAt", "snapshots", "snapshotSequence",
"snapshotTime", "snapshotBytes", "objects", "bytes", "verifiedSequence",
"verifiedAt", "faults", "branches", "forkOf", "forks", "heldObjects",
"heldBytes"}; branches is a list of {"id", "node", "epoch", "from", "to",
"bytes", "storedAt"}, forkOf is {"database", "databaseId", "sequence"}. Without
faults there is no "faults", and so with the last four. A database that cannot
be read, or has nothing to restore yet, has "database" and "error" only.`,
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
	if f := b.Fork; f != nil {
		s.ForkOf = &forkOf{f.Name, f.DatabaseID, f.Sequence}
	}
	s.Forks, s.HeldObjects, s.HeldBytes = b.Held.Forks, b.Held.Objects, b.Held.Bytes
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
	list, depths := tree(list)
	for i, s := range list {
		line := s.line()
		line[0] = strings.Repeat("  ", depths[i]) + line[0]
		table = append(table, line)
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
		below := strings.Repeat("  ", depths[i-1])
		if f := list[i-1].ForkOf; f != nil {
			out.Printf("%s  fork of %s after change %d\n", below, f.Database, f.Sequence)
		}
		if held := list[i-1]; held.HeldObjects > 0 {
			out.Printf("%s  kept for %s: %s (%s)\n", below, strings.Join(held.Forks, ", "), plural(int64(held.HeldObjects), "object", "objects"), size(held.HeldBytes))
		}
		for _, fault := range list[i-1].Faults {
			out.Printf("%s  fault: %s\n", below, fault)
		}
		for _, b := range list[i-1].Branches {
			out.Printf("%s  branch %s: changes %d to %d, %s, stored %s\n", below, b.ID, b.From, b.To, size(b.Bytes), b.StoredAt)
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

// tree puts each fork below the database it came from, if that is in the list, and returns
// how deep each one is.
func tree(list []databaseStatus) (ordered []databaseStatus, depths []int) {
	children := map[string][]databaseStatus{}
	there := map[string]bool{}
	for _, s := range list {
		if s.backupStatus != nil {
			there[s.DatabaseID] = true
		}
	}
	for _, s := range list {
		above := ""
		if s.backupStatus != nil && s.ForkOf != nil && there[s.ForkOf.DatabaseID] {
			above = s.ForkOf.DatabaseID
		}
		children[above] = append(children[above], s)
	}
	var add func(below string, depth int)
	add = func(below string, depth int) {
		for _, s := range children[below] {
			ordered, depths = append(ordered, s), append(depths, depth)
			if s.backupStatus != nil {
				add(s.DatabaseID, depth+1)
			}
		}
	}
	add("", 0)
	for _, s := range list { // no database comes from itself, but a stranger may say so
		if !slices.ContainsFunc(ordered, func(o databaseStatus) bool { return o.Database == s.Database }) {
			ordered, depths = append(ordered, s), append(depths, 0)
		}
	}
	return ordered, depths
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
