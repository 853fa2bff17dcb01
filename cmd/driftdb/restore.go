package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

type restoreOptions struct {
	place
	out, branch string
	at          timeFlag
	sequence    int64
	overwrite   bool
}

func (a *app) restoreCommand() *cobra.Command {
	o := new(restoreOptions)
	c := &cobra.Command{
		Use:   "restore --store URL --name NAME --out FILE [--at TIME | --sequence N] [--branch ID] [--overwrite]",
		Short: "Rebuild a database from the store, now or at an earlier point",
		Long: `Rebuild a database from the store, now or at an earlier point.

The database is verified before it appears at FILE; until then FILE is as it
was. It is an ordinary SQLite database, independent of the store.

--at includes every transaction up to the last one that was committed by then,
by the clock of the machine that committed it. If that clock was wrong, use
driftdb log to find the sequence you want.

A branch holds the changes that a writer had not uploaded when another one took
the database over; it is not part of the history. driftdb status lists the
branches with their IDs.

With --json the result is {"database", "file", "branch", "sequence", "time",
"rows", "tables", "bytes", "seconds"}: sequence and time are those of its last
change, tables is how many were compared with the digests that the writer
stored. Left out where they do not apply: branch, "foreignKeyViolations" (rows
that refer to a missing row) and "faults" (what is wrong with the database). The
database already had both when it was backed up.`,
	}
	o.flags(c)
	c.Flags().StringVar(&o.out, "out", "", "`FILE` to write")
	c.Flags().Var(&o.at, "at", "the state at this `TIME`, such as 2026-01-31T18:00:00Z, \"2026-01-31 18:00\", \"2h ago\" or \"yesterday 14:00\"")
	c.Flags().Int64Var(&o.sequence, "sequence", 0, "the state after change `N`")
	c.Flags().StringVar(&o.branch, "branch", "", "the branch with this `ID`, to its end unless --at or --sequence ends it earlier")
	c.Flags().BoolVar(&o.overwrite, "overwrite", false, "replace FILE if it exists")
	return a.command(c, func(ctx context.Context, _ []string) error {
		if c.Flags().Changed("branch") && o.branch == "" {
			return usagef("--branch is empty; driftdb status lists the branches; without the flag the main history is restored")
		}
		return a.runRestore(ctx, o, c.Flags().Changed("at"), c.Flags().Changed("sequence"))
	}, "store", "name", "out")
}

// restored is the result of a restore or a verification.
type restored struct {
	Database   string  `json:"database"`
	File       string  `json:"file,omitempty"`
	Branch     string  `json:"branch,omitempty"`
	Sequence   int64   `json:"sequence"`
	Time       instant `json:"time,omitzero"`
	Rows       int64   `json:"rows"`
	Tables     int     `json:"tables"`
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"`
	VerifiedAt instant `json:"verifiedAt,omitzero"`

	ForeignKeyViolations int64    `json:"foreignKeyViolations,omitzero"`
	Faults               []string `json:"faults,omitempty"`
	Refused              []string `json:"refused,omitempty"`
}

func restoredOf(name string, r driftdb.RestoreResult) restored {
	return restored{
		Database: name, Sequence: r.Sequence, Time: instant(r.Time),
		Rows: r.Rows, Tables: r.Tables, Bytes: r.Bytes, Seconds: seconds(r.Duration),
		ForeignKeyViolations: r.ForeignKeyViolations, Faults: r.Faults, Refused: r.Refused,
	}
}

func (a *app) runRestore(ctx context.Context, o *restoreOptions, hasTime, hasSequence bool) error {
	switch {
	case hasTime && hasSequence:
		return usagef("--at and --sequence cannot be combined; use one of them")
	case hasSequence && o.sequence < 1:
		return usagef("--sequence %d is too small; the first change is 1", o.sequence)
	case hasTime && o.at.After(time.Now()): // this clock may be the wrong one
		a.stderr.Printf("note: --at %s is in the future, by this machine's clock, which shows %s\n", o.at.text, time.Now().UTC().Format(time.RFC3339))
	}
	cfg, err := a.config(ctx, o.place)
	if err != nil {
		return err
	}
	if err := checkTarget(o.out, o.overwrite); err != nil {
		return err
	}
	b, err := driftdb.OpenBackup(ctx, cfg)
	if err != nil {
		return err
	}
	what := driftdb.RestoreOptions{At: driftdb.Point{Sequence: o.sequence, Time: o.at.Time}, Branch: o.branch, Overwrite: o.overwrite}
	r, err := a.watchRestore(what, func(what driftdb.RestoreOptions) (driftdb.RestoreResult, error) {
		return b.Restore(ctx, o.out, what)
	})
	if err != nil {
		return err
	}
	if hasSequence && r.Sequence != o.sequence {
		a.stderr.Printf("note: the last transaction that ends at or before change %d ends at %d\n", o.sequence, r.Sequence)
	}
	result, name := restoredOf(o.name, r), o.name
	if o.branch != "" {
		name = "branch " + o.branch + " of " + o.name
	}
	result.File, result.Branch = o.out, o.branch
	return a.report(result, "restored %s to %s: sequence %d of %s, %s, %s, in %.1f s\n",
		name, o.out, r.Sequence, stamp(r.Time), plural(r.Rows, "row", "rows"), size(r.Bytes), r.Duration.Seconds())
}

// watchRestore shows the progress of run and prints what its result reports.
func (a *app) watchRestore(o driftdb.RestoreOptions, run func(driftdb.RestoreOptions) (driftdb.RestoreResult, error)) (driftdb.RestoreResult, error) {
	bar := a.stderr.Bar("restoring", -1)
	defer bar.Stop()
	o.OnProgress = func(p driftdb.Progress) {
		if p.Total == 0 {
			p.Total = -1
		}
		bar.Set(string(p.Stage), p.Done, p.Total)
	}
	r, err := run(o)
	if errors.Is(err, driftdb.ErrCorrupt) {
		err = hinted{err, "driftdb restore --at or --sequence may reach a point before the damage"}
	}
	if err == nil && len(r.Damaged) > 0 {
		a.stderr.Printf("warning: %s damaged: %s; an older snapshot and the log replaced it, but the backup needs a new snapshot\n",
			plural(int64(len(r.Damaged)), "snapshot is", "snapshots are"), strings.Join(r.Damaged, ", "))
	}
	if err == nil && r.ForeignKeyViolations > 0 {
		a.stderr.Printf("note: %s to a missing row, as in the database that was backed up\n",
			plural(r.ForeignKeyViolations, "row refers", "rows refer"))
	}
	for _, key := range r.Refused {
		a.stderr.Printf("warning: ignored %s: it is named like part of the backup but is not; another program may write to the bucket\n", key)
	}
	for _, fault := range r.Faults {
		a.stderr.Printf("note: as in the database that was backed up: %s\n", fault)
	}
	return r, err
}

// checkTarget refuses an existing file before the store is asked for anything.
func checkTarget(path string, overwrite bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder; name a file in it", path)
	case !overwrite:
		return hinted{fmt.Errorf("%s already exists", path), "choose another file, or replace it with --overwrite"}
	}
	return nil
}
