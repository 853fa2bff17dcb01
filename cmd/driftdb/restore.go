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
	out, at, branch string
	sequence        int64
	overwrite       bool
}

func (a *app) restoreCommand() *cobra.Command {
	o := new(restoreOptions)
	c := &cobra.Command{
		Use:   "restore --store URL --name NAME --out FILE [--at TIME | --sequence N] [--branch ID] [--overwrite]",
		Short: "Rebuild a database from the store, as it is or as it was",
		Long: `Rebuild a database from the store, as it is or as it was.

The file is proven before it appears: until then nothing is at FILE, or what
was there before. It is an ordinary SQLite database, free of the store.

A time means everything up to the last transaction whose own time is not
later: what the clock of its machine showed when it was committed. Where that
was wrong, driftdb log shows the times and the sequences to choose from.

A branch is what a writer still had when another one took the database over; it
is no part of the history. driftdb status lists the branches with their IDs.

With --json the result is {"database", "file", "branch", "sequence", "time",
"rows", "tables", "bytes", "seconds"}; sequence and time are those of the last
change in it, tables is how many were compared with the digests that the writer
has stored. Left out if there is none: branch, and "foreignKeyViolations", rows
that refer to one that is not there, and "faults", what is wrong with the
database; it had all of them when it was stored.`,
	}
	o.flags(c)
	c.Flags().StringVar(&o.out, "out", "", "`FILE` to write")
	c.Flags().StringVar(&o.at, "at", "", "the state at this `TIME`, such as 2026-01-31T18:00:00Z (RFC 3339)")
	c.Flags().Int64Var(&o.sequence, "sequence", 0, "the state after change `N`")
	c.Flags().StringVar(&o.branch, "branch", "", "the branch of the history with this `ID`, to its end unless --at or --sequence says otherwise")
	c.Flags().BoolVar(&o.overwrite, "overwrite", false, "replace FILE if it exists")
	return a.command(c, func(ctx context.Context, _ []string) error {
		if c.Flags().Changed("branch") && o.branch == "" {
			return usagef("--branch is empty; driftdb status lists the branches, and without the flag it is the history that is restored")
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
	var at time.Time
	switch {
	case hasTime && hasSequence:
		return usagef("--at and --sequence exclude each other; give one of them")
	case hasSequence && o.sequence < 1:
		return usagef("--sequence %d is no change; the first one is 1", o.sequence)
	case hasTime:
		var err error
		if at, err = parseTime(o.at); err != nil {
			return err
		}
		if now := time.Now(); at.After(now) { // it may be this clock that is wrong
			a.stderr.Printf("note: --at %s is in the future, by this machine's clock, which shows %s\n", o.at, now.UTC().Format(time.RFC3339))
		}
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
	what := driftdb.RestoreOptions{At: driftdb.Point{Sequence: o.sequence, Time: at}, Branch: o.branch, Overwrite: o.overwrite}
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

// watchRestore shows the progress of what run restores.
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
		a.stderr.Printf("warning: %s damaged: %s; what was before made up for it, but the backup needs a new snapshot\n",
			plural(int64(len(r.Damaged)), "snapshot is", "snapshots are"), strings.Join(r.Damaged, ", "))
	}
	if err == nil && r.ForeignKeyViolations > 0 {
		a.stderr.Printf("note: %s to a row that is not there, as in the database that was backed up\n",
			plural(r.ForeignKeyViolations, "row refers", "rows refer"))
	}
	for _, key := range r.Refused {
		a.stderr.Printf("warning: %s is named like a part of the backup and is none; it was passed over: somebody else may write to the bucket\n", key)
	}
	for _, fault := range r.Faults {
		a.stderr.Printf("note: as in the database that was backed up: %s\n", fault)
	}
	return r, err
}

// parseTime reads the value of --at.
func parseTime(s string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return at, usagef("--at %q is no time of RFC 3339; write it as %s", s, time.Now().UTC().Format(time.RFC3339))
	}
	return at, nil
}

// checkTarget refuses a file that is there, before the store is asked for
// anything.
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
		return hinted{fmt.Errorf("%s exists already", path), "choose another file, or replace it with --overwrite"}
	}
	return nil
}
