package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

type historyOptions struct {
	place
	selection
}

func (a *app) historyCommand() *cobra.Command {
	o := new(historyOptions)
	c := &cobra.Command{
		Use:   "history --store URL --name NAME --table T --key K [--from N] [--to N] [--since TIME] [--until TIME]",
		Short: "Print the life of one row",
		Long: `Print the life of one row, oldest first: when it was inserted, what each update
changed, when it was deleted, and whether a row with its key was inserted again.

If the row had another key before, or got another one later, its life under that
key belongs to it, too. What triggers, foreign keys and REPLACE did to the row
is in the log as changes of their own. Statements that alter or drop the table
are shown; and where the log cannot describe what happened to the database, a
line says so.

--key is the value of the table's primary key (or its rowid, if it has none), or
column=value, once for each of its columns. Put a text that looks like a number
into single quotes: --key "'1'". The times are those of driftdb log.

With --json each change is a line, as in driftdb log --json.`,
	}
	o.place.flags(c)
	o.selection.flags(c)
	return a.command(c, func(ctx context.Context, _ []string) error {
		if err := o.check(c.Flags().Changed); err != nil {
			return err
		}
		return a.runHistory(ctx, o)
	}, "store", "name", "table", "key")
}

func (a *app) runHistory(ctx context.Context, o *historyOptions) error {
	b, err := a.open(ctx, o.place)
	if err != nil {
		return err
	}
	q, err := o.query(ctx, b)
	if err != nil {
		return explain(ctx, b, err)
	}
	q.Follow = true
	var life []driftdb.Change
	rows := 0
	for c, err := range b.Changes(ctx, q) {
		if err != nil {
			return explain(ctx, b, err)
		}
		if life = append(life, c); c.Table != "" {
			rows++
		}
	}
	if rows == 0 {
		have, err := kept(ctx, b)
		if err != nil {
			return err
		}
		return hinted{fmt.Errorf("the log has no row of table %s with the key %s", word(o.table), strings.Join(pairs(q.Key), " ")), have}
	}
	out, flush := a.stdout.Buffered()
	for _, c := range life {
		if a.json {
			err = out.JSON(jsonChange(c))
		} else {
			err = printVersion(out, c, a.stdout.Colours())
		}
		if err != nil {
			return err
		}
	}
	return flush()
}

// printVersion prints what a change made of a row: a line for each value.
func printVersion(out *terminal.Screen, c driftdb.Change, colours bool) error {
	var format terminal.Format = "%s transaction %d: %s%s\n"
	if colours {
		format = "\x1b[1m%s transaction %d: %s\x1b[0m%s\n"
	}
	about := ""
	switch {
	case c.SQL != "":
		about = " " + strings.Join(strings.Fields(c.SQL), " ")
	case c.Reason != "":
		about = " (not recorded: " + c.Reason + ")"
	case len(c.Key) > 0:
		about = " [" + strings.Join(pairs(c.Key), " ") + "]"
	}
	if err := out.Printf(format, stamp(c.Time), c.Tx, string(c.Operation), about); err != nil {
		return err
	}
	var rows [][]string
	for _, name := range c.Columns {
		if c.Operation == driftdb.OperationUpdate && literal(c.Before[name]) == literal(c.After[name]) {
			continue // a row that moved has all its columns
		}
		rows = append(rows, []string{"  " + word(name), columnText(c, name, " -> ")})
	}
	if len(rows) == 0 {
		return nil
	}
	lines, err := terminal.Align(rows)
	if err != nil {
		return err
	}
	for _, line := range lines {
		if err := out.Printf("%s\n", line); err != nil {
			return err
		}
	}
	return nil
}
