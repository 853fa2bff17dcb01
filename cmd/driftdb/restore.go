package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

type restoreOptions struct {
	place
	out, branch string
	at          pointFlag
	sequence    int64
	overwrite   bool

	tables   []string
	as, into string
	back     bool
}

func (a *app) restoreCommand() *cobra.Command {
	o := new(restoreOptions)
	c := &cobra.Command{
		Use: `restore --store URL --name NAME --out FILE [--at TIME | --sequence N] [--branch ID] [--overwrite]
       driftdb restore --store URL --name NAME --table TABLE... --into FILE [--as NAME] [--at TIME | --sequence N]
       driftdb restore --back --out FILE`,
		Short: "Rebuild a database or its tables from the store, at any point",
		Long: `Rebuild a database from the store, now or at an earlier point.

The database is verified before it appears at FILE; until then FILE is as it
was. It is an ordinary SQLite database, independent of the store.

--at includes every transaction up to the last one that was committed by then,
by the clock of the machine that committed it. If that clock was wrong, use
driftdb log to find the sequence you want.

A branch holds the changes that a writer had not uploaded when another one took
the database over; it is not part of the history. driftdb status lists the
branches with their IDs.

With --overwrite the file that FILE was is kept beside it until the next restore
that replaces a file. --back puts it back, and keeps the restored one: a second
--back undoes the first. No program may have FILE open.

With --table it copies single tables, with rowids and indexes but no triggers,
into the database FILE, which is created if it is missing. If it exists, table
t as of change 201 becomes t_at_201, or what --as says; no table is overwritten.
If DriftDB has opened FILE before, the copy is a change like any other, and the
program that opens FILE next uploads it; no program may have it open meanwhile.

With --json the result is {"database", "file", "branch", "sequence", "time",
"rows", "tables", "bytes", "seconds", "replaced"}: sequence and time are those
of its last change, tables is how many were compared with the digests that the
writer stored. Left out where they do not apply: branch, replaced (where the
replaced file is now), "foreignKeyViolations" (rows that refer to a missing row)
and "faults" (what is wrong with the database). The database already had both
when it was backed up. With --table the result is {"database", "file",
"sequence", "time", "tables"}, and tables a list of {"table", "as", "rows"};
with --back it is {"file", "replaced"}.`,
	}
	o.flags(c)
	c.Flags().StringVar(&o.out, "out", "", "`FILE` to write")
	c.Flags().Var(&o.at, "at", "the state at this `TIME`, such as 2026-01-31T18:00:00Z, \"2026-01-31 18:00\", \"2h ago\" or \"yesterday 14:00\", or after the change of this number")
	c.Flags().Int64Var(&o.sequence, "sequence", 0, "the state after change `N`")
	c.Flags().StringVar(&o.branch, "branch", "", "the branch with this `ID`, to its end unless --at or --sequence ends it earlier")
	c.Flags().BoolVar(&o.overwrite, "overwrite", false, "replace FILE if it exists, and keep it until the next such restore")
	c.Flags().StringArrayVar(&o.tables, "table", nil, "restore only this `TABLE`; may be repeated")
	c.Flags().StringVar(&o.into, "into", "", "the database `FILE` that gets the tables")
	c.Flags().StringVar(&o.as, "as", "", "the `NAME` of the table's copy in FILE")
	c.Flags().BoolVar(&o.back, "back", false, "put back what the last restore to FILE has replaced")
	return a.command(c, func(ctx context.Context, _ []string) error {
		if err := o.check(c.Flags().Changed); err != nil {
			return err
		}
		switch {
		case o.back:
			return a.runBack(o.out)
		case len(o.tables) > 0:
			return a.runRestoreTables(ctx, o)
		}
		if c.Flags().Changed("branch") && o.branch == "" {
			return usagef("--branch is empty; driftdb status lists the branches; without the flag the main history is restored")
		}
		return a.runRestore(ctx, o)
	})
}

// check refuses flags that do not go together. changed reports whether a flag is given.
func (o *restoreOptions) check(changed func(flag string) bool) error {
	what, needed, others := "out", []string{"name", "out", "store"}, []string{"as"}
	switch {
	case o.back:
		what, needed, others = "back", []string{"out"}, []string{"name", "store", "at", "sequence", "branch", "overwrite", "table", "into", "as"}
	case changed("table"), changed("into"):
		what, needed, others = "table", []string{"into", "name", "store", "table"}, []string{"out", "branch", "overwrite"}
	}
	var missing []string
	for _, flag := range needed {
		if !changed(flag) && (flag != "store" || o.url == "") {
			missing = append(missing, strconv.Quote(flag))
		}
	}
	if len(missing) > 0 {
		return usagef("required flag(s) %s not set", strings.Join(missing, ", "))
	}
	for _, flag := range others {
		if changed(flag) {
			return usagef("--%s and --%s cannot be combined", what, flag)
		}
	}
	switch {
	case changed("at") && changed("sequence"):
		return usagef("--at and --sequence cannot be combined; use one of them")
	case changed("sequence") && o.sequence < 1:
		return usagef("--sequence %d is too small; the first change is 1", o.sequence)
	case changed("sequence"):
		o.at.Sequence = o.sequence
	}
	return nil
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
	Replaced   string  `json:"replaced,omitempty"`
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

func (a *app) runRestore(ctx context.Context, o *restoreOptions) error {
	if o.at.Time.After(time.Now()) { // this clock may be the wrong one
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
	what := driftdb.RestoreOptions{At: o.at.Point, Branch: o.branch, Overwrite: o.overwrite}
	r, err := a.watchRestore(what, func(what driftdb.RestoreOptions) (driftdb.RestoreResult, error) {
		return b.Restore(ctx, o.out, what)
	})
	if err != nil {
		return err
	}
	if want := o.at.Sequence; want != 0 && r.Sequence != want {
		a.stderr.Printf("note: the last transaction that ends at or before change %d ends at %d\n", want, r.Sequence)
	}
	result, name := restoredOf(o.name, r), o.name
	if o.branch != "" {
		name = "branch " + o.branch + " of " + o.name
	}
	result.File, result.Branch, result.Replaced = o.out, o.branch, r.Replaced
	if r.Replaced != "" {
		a.tellKept(o.out, r.Replaced)
	}
	return a.report(result, "restored %s to %s: sequence %d of %s, %s, %s, in %.1f s\n",
		name, o.out, r.Sequence, stamp(r.Time), plural(r.Rows, "row", "rows"), size(r.Bytes), r.Duration.Seconds())
}

// watchRestore shows the progress of run and prints what its result reports.
func (a *app) watchRestore(o driftdb.RestoreOptions, run func(driftdb.RestoreOptions) (driftdb.RestoreResult, error)) (driftdb.RestoreResult, error) {
	bar := a.stderr.Bar("restoring", -1)
	defer bar.Stop()
	o.OnProgress = onBar(bar)
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

// onBar shows the progress of a restore on a bar.
func onBar(bar *terminal.Bar) func(driftdb.Progress) {
	return func(p driftdb.Progress) {
		if p.Total == 0 {
			p.Total = -1
		}
		unit := map[driftdb.Stage]terminal.Unit{driftdb.StageReplay: "changes", driftdb.StageCheck: "rows"}[p.Stage]
		bar.SetIn(unit, string(p.Stage), p.Done, p.Total)
	}
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
