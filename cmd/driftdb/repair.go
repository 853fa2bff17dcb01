package main

import (
	"context"
	"errors"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

func (a *app) repairCommand() *cobra.Command {
	var p place
	var o driftdb.RepairOptions
	c := &cobra.Command{
		Use:   "repair --store URL --name NAME [--db FILE] [--database-id ID] [--dry-run] [--force]",
		Short: "Make the manifest of a backup anew, when it is gone or damaged",
		Long: `Make the manifest of a backup anew, when it is gone or damaged, from the objects
that are left. If the store keeps versions of objects, or there is a copy of the
bucket, put back the manifest from there instead: it is exact.

A repair proves what it says, and never guesses: every batch by its hashes and
the chain, each snapshot by its digests and a restore that begins with it, the
latest point by a restore. Where something is missing, the history ends before
it, or begins with a snapshot behind it. Where writers have parted, the latest
one has the history, and what the others stored are branches. What is no part of
the history is listed. A snapshot among that is deleted by a later collection of
garbage: if you may need it, copy it first.

With --dry-run it says what it would do, and stores nothing. A manifest that is
damaged is replaced only with --force; without it, repair says what that was. An
object that no key opens ends the repair; with --force it is left out.

The objects are those of one database, whose id is needed. If nothing in the
store tells it, name the database's own file with --db, or give --database-id.
The file also tells where the newest snapshot belongs, if the changes around it
are gone; nothing in it changes.

Afterwards the database's own file goes on with the backup, unless it has sent
changes that cannot be proven any more: then opening it says that the two have
diverged. A writer that is at work meanwhile is told that it has lost the
database: open it again.

With --json the result is {"database", "databaseId", "stored", "was", "from",
"sequence", "time", "rows", "tables", "snapshots", "left"}: snapshots is a list
of {"key", "sequence"}, and left one of {"key", "why"}.`,
	}
	p.flags(c)
	c.Flags().StringVar(&o.File, "db", "", "`FILE` of the database, if there is one")
	c.Flags().StringVar(&o.DatabaseID, "database-id", "", "the `ID` of the database, if nothing else tells it")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and store nothing")
	c.Flags().BoolVar(&o.Force, "force", false, "replace a manifest that is damaged, and leave out what no key opens")
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
	bar := a.stderr.Bar("reading the backup", -1)
	r, err := driftdb.Repair(ctx, cfg, o)
	bar.Stop()
	switch {
	case err != nil && r.Was != "" && !o.Force:
		return hinted{err, "see with --dry-run what can be proven of the backup; --force then replaces this manifest"}
	case errors.Is(err, driftdb.ErrCorrupt) && o.File == "":
		return hinted{err, "if the database's own file is left, name it with --db: it tells more"}
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

// reportRepair says what could be proven, and what not.
func (a *app) reportRepair(r repaired) error {
	out, flush := a.stdout.Buffered() // flush returns the error
	if r.Was != "" {
		out.Printf("the manifest was %s\n", r.Was)
	}
	if r.Sequence >= r.From {
		out.Printf("changes %s to %s are proven by their chain\n", count(r.From), count(r.Sequence))
	}
	for _, s := range r.Snapshots {
		out.Printf("snapshot %s, after change %s, is restored and checked\n", word(s.Key), count(s.Sequence))
	}
	out.Printf("the latest point, change %s of %s, is restored and checked: %s, %s compared with the writer's digests\n",
		count(r.Sequence), r.Time, plural(r.Rows, "row", "rows"), plural(int64(r.Tables), "table", "tables"))
	if n := int64(len(r.Left)); n > 0 {
		out.Printf("%s of no part of the history:\n", plural(n, "object is", "objects are"))
		table := [][]string{}
		for _, l := range r.Left {
			table = append(table, []string{"  " + word(l.Key), l.Why})
		}
		lines, err := terminal.Align(table)
		if err != nil {
			return err
		}
		for _, line := range lines {
			out.Printf("%s\n", line)
		}
	}
	if r.Stored {
		out.Printf("%s has a manifest again\n", r.Database)
	} else {
		out.Printf("nothing was stored\n")
	}
	return flush()
}
