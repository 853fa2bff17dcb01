package main

import (
	"context"
	"errors"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/driftdb/driftdb-go/internal/wrap"
	"github.com/spf13/cobra"
)

func (a *app) repairCommand() *cobra.Command {
	var p place
	var o driftdb.RepairOptions
	c := &cobra.Command{
		Use:   "repair --store URL --name NAME [--db FILE] [--database-id ID] [--dry-run] [--force]",
		Short: "Rebuild the manifest of a backup, when it is missing or damaged",
		Long: `Rebuild the manifest of a backup, when it is missing or damaged, from the
objects that are left. If the store keeps versions of objects, or you have a
copy of the bucket, put the manifest back from there instead: that is exact.

repair never guesses. It verifies every batch by its hashes and the chain, each
snapshot by its digests and a restore that begins with it, and the latest point
by a restore. Where something is missing, the history ends before the gap, or
begins with a snapshot after it. Where writers have diverged, the latest one
keeps the history, and what the others stored becomes branches. Objects that are
not part of the history are listed. A later garbage collection deletes the
snapshots among them: if you may need one, copy it first.

With --dry-run it prints what it would do, and stores nothing. A damaged
manifest is replaced only with --force; without it, repair says what is wrong
with it. An object that no key decrypts ends the repair; with --force it is left
out.

The objects belong to one database, whose ID is needed. If nothing in the store
has it, name the database's own file with --db, or pass --database-id. The file
also shows where the newest snapshot belongs, if the changes around it are gone.
repair does not change the file.

Afterwards the database's own file continues the backup, unless it had uploaded
changes that can no longer be verified: then opening it reports that the two
have diverged. A writer that runs during the repair loses the database: open it
again.

With --json the result is {"database", "databaseId", "stored", "was", "from",
"sequence", "time", "rows", "tables", "snapshots", "left"}: snapshots is a list
of {"key", "sequence"}, left a list of {"key", "why"}.`,
	}
	p.flags(c)
	c.Flags().StringVar(&o.File, "db", "", "`FILE` of the database, if there is one")
	c.Flags().StringVar(&o.DatabaseID, "database-id", "", "the `ID` of the database, if nothing else has it")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "print what would be done, and store nothing")
	c.Flags().BoolVar(&o.Force, "force", false, "replace a damaged manifest, and leave out objects that no key decrypts")
	return a.command(c, func(ctx context.Context, _ []string) error { return a.runRepair(ctx, p, o) }, "store", "name")
}

// repaired is the result of a repair.
type repaired struct {
	Database   string             `json:"database"`
	DatabaseID string             `json:"databaseId"`
	Stored     bool               `json:"stored"`
	Was        string             `json:"was,omitempty"`
	From       int64              `json:"from"`
	Sequence   int64              `json:"sequence"`
	Time       instant            `json:"time,omitzero"`
	Rows       int64              `json:"rows"`
	Tables     int                `json:"tables"`
	Snapshots  []repairedSnapshot `json:"snapshots"`
	Left       []leftLine         `json:"left"`
}

type repairedSnapshot struct {
	Key      string `json:"key"`
	Sequence int64  `json:"sequence"`
}

type leftLine struct {
	Key string `json:"key"`
	Why string `json:"why"`
}

func (a *app) runRepair(ctx context.Context, p place, o driftdb.RepairOptions) error {
	cfg, err := a.config(ctx, p)
	if err != nil {
		return err
	}
	read := &wrap.Meter{Store: cfg.Store}
	cfg.Store = read
	var r driftdb.RepairResult
	err = a.watch("reading the backup", func(bar *terminal.Bar) {
		bar.Set("reading the backup", read.Received.Load(), -1)
	}, func() (err error) {
		r, err = driftdb.Repair(ctx, cfg, o)
		return err
	})
	switch {
	case err != nil && r.Was != "" && !o.Force:
		return hinted{err, "use --dry-run to see what can be rebuilt; --force then replaces this manifest"}
	case errors.Is(err, driftdb.ErrCorrupt) && o.File == "":
		return hinted{err, "if you still have the database's own file, name it with --db: it may have what is missing"}
	case err != nil:
		return err
	}
	res := repaired{
		Database: p.name, DatabaseID: r.DatabaseID, Stored: !o.DryRun, Was: r.Was, From: r.From, Sequence: r.Restored.Sequence,
		Time: instant(r.Restored.Time), Rows: r.Restored.Rows, Tables: r.Restored.Tables,
		Snapshots: []repairedSnapshot{}, Left: []leftLine{},
	}
	for _, s := range r.Snapshots {
		res.Snapshots = append(res.Snapshots, repairedSnapshot{s.Key, s.Sequence})
	}
	for _, l := range r.Left {
		res.Left = append(res.Left, leftLine{l.Key, l.Why.Error()})
	}
	if a.json {
		return a.stdout.JSON(res)
	}
	return a.reportRepair(res)
}

// reportRepair prints what could be verified and what could not.
func (a *app) reportRepair(r repaired) error {
	out, flush := a.stdout.Buffered() // flush returns the error
	if r.Was != "" {
		out.Printf("the manifest was %s\n", r.Was)
	}
	if r.Sequence >= r.From {
		out.Printf("verified the chain of changes %s to %s\n", count(r.From), count(r.Sequence))
	}
	for _, s := range r.Snapshots {
		out.Printf("restored and verified snapshot %s, after change %s\n", word(s.Key), count(s.Sequence))
	}
	out.Printf("restored and verified the latest point, change %s of %s: %s, %s compared with the writer's digests\n",
		count(r.Sequence), r.Time, plural(r.Rows, "row", "rows"), plural(int64(r.Tables), "table", "tables"))
	if n := int64(len(r.Left)); n > 0 {
		out.Printf("%s not part of the history:\n", plural(n, "object is", "objects are"))
		for _, l := range r.Left {
			out.Printf("  %s: %s\n", word(l.Key), l.Why)
		}
	}
	if r.Stored {
		out.Printf("%s has a manifest again\n", r.Database)
	} else {
		out.Printf("nothing was stored\n")
	}
	return flush()
}
