package main

import (
	"context"
	"errors"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

type logOptions struct {
	place
	from  int64
	table string
}

func (a *app) logCommand() *cobra.Command {
	o := new(logOptions)
	c := &cobra.Command{
		Use:   "log --store URL --name NAME [--from N] [--table T]",
		Short: "Print the changes that the store holds",
		Long: `Print the changes that the store holds, oldest first, one per line: time,
sequence, table, operation, key, columns. An update shows the value of each
changed column before and after.

With --json each line is an object with "sequence", "tx" (the sequence of its
transaction's first change), "time", "operation", and where they apply "table",
"key", "before", "after", "sql", "reason". Values that JSON cannot express are
tagged as in the store's own files: {"$blob": base64}, {"$text": base64} for
text that is not UTF-8, {"$int": "9007199254740993"}, {"$real": "Infinity"}.`,
	}
	o.flags(c)
	c.Flags().Int64Var(&o.from, "from", 0, "start at change `N` (default: the first one in the store)")
	c.Flags().StringVar(&o.table, "table", "", "only changes to rows of this `TABLE`")
	return a.command(c, func(ctx context.Context, _ []string) error {
		return a.runLog(ctx, o, c.Flags().Changed("from"))
	}, "store", "name")
}

func (a *app) runLog(ctx context.Context, o *logOptions, hasFrom bool) error {
	if hasFrom && o.from < 1 {
		return usagef("--from %d is too small; the first change is 1", o.from)
	}
	b, err := a.open(ctx, o.place)
	if err != nil {
		return err
	}
	out, flush := a.stdout.Buffered()
	for c, err := range b.Changes(ctx, driftdb.ChangeQuery{From: o.from, Table: o.table}) {
		if err != nil {
			return errors.Join(err, flush())
		}
		if a.json {
			err = out.JSON(jsonChange(c))
		} else {
			err = out.Printf("%s\n", changeLine(c))
		}
		if err != nil {
			return err
		}
	}
	return flush()
}
