package main

import (
	"context"

	"github.com/spf13/cobra"
)

type forkOptions struct {
	place
	at       pointFlag
	sequence int64
}

func (a *app) forkCommand() *cobra.Command {
	o := new(forkOptions)
	c := &cobra.Command{
		Use:   "fork --store URL --name NAME NEW [--at POINT | --sequence N]",
		Short: "Begin a new database at a point of another one",
		Long: `Begin a new database in the store, called NEW, at a point of another one:
now, or an earlier one. It copies next to nothing: the fork uses the objects of
NAME up to that point. From then on, the two live apart. The fork has the
history before the point as well, so it can be restored and forked there.

To write to the fork, open it as any other database: with AutoRestore, and the
name NEW.

"Now" is the last change that the manifest of NAME confirms. A running program
confirms its changes about once a minute, and when it calls Flush.

As long as the fork needs objects of NAME, garbage collection keeps them, even
if NAME is deleted. driftdb status shows which forks there are, and how much is
kept for them. If NAME gets another key, its forks' programs need that key, too.

With --json the result is {"database", "fork", "databaseId", "sequence"}.`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(c)
	c.Flags().Var(&o.at, "at", "begin with the state at this `POINT`: the number of a change, or a time such as 2026-01-31T18:00:00Z, \"2h ago\" or \"yesterday 14:00\"")
	c.Flags().Int64Var(&o.sequence, "sequence", 0, "begin with the state after change `N`")
	return a.command(c, func(ctx context.Context, args []string) error {
		return a.runFork(ctx, o, args[0], c.Flags().Changed("at"), c.Flags().Changed("sequence"))
	}, "store", "name")
}

// forked is the result of a fork.
type forked struct {
	Database   string `json:"database"`
	Fork       string `json:"fork"`
	DatabaseID string `json:"databaseId"`
	Sequence   int64  `json:"sequence"`
}

func (a *app) runFork(ctx context.Context, o *forkOptions, name string, hasTime, hasSequence bool) error {
	switch {
	case hasTime && hasSequence:
		return usagef("--at and --sequence cannot be combined")
	case hasSequence && o.sequence < 1:
		return usagef("--sequence %d is not a change; they are numbered from 1", o.sequence)
	case !validName.MatchString(name) || name == "." || name == "..":
		return usagef("%q is not a valid database name; use 1 to 128 letters, digits, dots, underscores and hyphens", name)
	}
	b, err := a.open(ctx, o.place)
	if err != nil {
		return err
	}
	at := o.at.Point
	if hasSequence {
		at.Sequence = o.sequence
	}
	f, err := b.Fork(ctx, name, at)
	if err != nil {
		return err
	}
	info, err := f.Info(ctx)
	if err != nil {
		return err
	}
	if at.Sequence != 0 && info.Sequence != at.Sequence {
		a.stderr.Printf("note: the last transaction that ends at or before change %d ends at %d\n", at.Sequence, info.Sequence)
	}
	return a.report(forked{o.name, name, info.DatabaseID, info.Sequence},
		"%s is a fork of %s and begins after its change %d\n", name, o.name, info.Sequence)
}
