package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

type logOptions struct {
	place
	selection
	tx, tail             int64
	reverse, follow, sql bool
}

func (a *app) logCommand() *cobra.Command {
	o := new(logOptions)
	c := &cobra.Command{
		Use: "log --store URL --name NAME [--from N] [--to N] [--since TIME] [--until TIME] [--table T [--key K]]" +
			" [--tx N] [--tail N] [--reverse] [--follow] [--sql]",
		Short: "Print the changes that the store holds",
		Long: `Print the changes that the store holds, oldest first: a line for each
transaction with its time and number, which is that of its first change, and
below it a line for each change: sequence, table, operation, key, columns. An
update shows the value of each changed column before and after.

A TIME is RFC 3339 (2026-11-29T14:00:00Z), local time ("2026-11-29 14:00", or a
date for its beginning), "2h ago", "3 days ago", "yesterday 14:00" or "today
9:30". The log is in the order of its sequences. If a clock was set back,
--since T is what came after the last transaction with an earlier time, and
--until T everything up to the last one that is not later, as in a restore.

--key is the value of the table's primary key (or its rowid, if it has none), or
column=value, once for each of its columns. Put a text that looks like a number
into single quotes: --key "'1'". driftdb history follows the row through changes
of its key.

--follow goes on with changes as they arrive, until it is interrupted.

--sql prints the statements that would make the changes again, for the sqlite3
shell. Values are exact to the last bit.

With --json each change is a line, an object with "sequence", "tx" (the sequence
of its transaction's first change), "time", "operation", and where they apply
"table", "key", "rowid" and "newRowid" (of an update that changes a rowid which
is not a column), "before", "after" (with the columns in the table's order),
"sql", "reason". Values that JSON cannot express are tagged as in the store's
own files: {"$blob": base64}, {"$text": base64} for text that is not UTF-8,
{"$int": "9007199254740993"}, {"$real": "Infinity"}.`,
	}
	o.place.flags(c)
	o.selection.flags(c)
	c.Flags().Int64Var(&o.tx, "tx", 0, "only the transaction that has change `N`")
	c.Flags().Int64Var(&o.tail, "tail", 0, "only the last `N` changes")
	c.Flags().BoolVar(&o.reverse, "reverse", false, "newest first")
	c.Flags().BoolVar(&o.follow, "follow", false, "go on with changes as they arrive")
	c.Flags().BoolVar(&o.sql, "sql", false, "print statements that make the changes again")
	return a.command(c, func(ctx context.Context, _ []string) error {
		if err := o.check(c.Flags().Changed, a.json); err != nil {
			return err
		}
		return a.runLog(ctx, o)
	}, "store", "name")
}

func (o *logOptions) check(changed func(string) bool, json bool) error {
	switch {
	case changed("tx") && o.tx < 1:
		return usagef("--tx %d is too small; the first transaction is 1", o.tx)
	case changed("tail") && o.tail < 1:
		return usagef("--tail %d is too small; use 1 or more", o.tail)
	case o.follow && (o.reverse || changed("until")):
		return usagef("--follow cannot be combined with --reverse or --until")
	case o.sql && (o.reverse || json):
		return usagef("--sql cannot be combined with --reverse or --json")
	}
	return o.selection.check(changed)
}

func (a *app) runLog(ctx context.Context, o *logOptions) error {
	b, err := a.open(ctx, o.place)
	if err != nil {
		return err
	}
	q, err := o.query(ctx, b)
	if err != nil {
		return err
	}
	if q.Tx, err = o.transaction(ctx, b); err != nil {
		return explain(ctx, b, err)
	}
	p := a.newChangePrinter(o.sql, o.follow)
	if err := o.print(ctx, b, q, p); err != nil {
		return errors.Join(explain(ctx, b, err), p.end())
	}
	if err := p.end(); err != nil || p.printed > 0 {
		return err
	}
	return a.nothing(ctx, b, o, q)
}

// transaction returns the number of the transaction that has change --tx; 0: all.
func (o *logOptions) transaction(ctx context.Context, b *driftdb.Backup) (int64, error) {
	if o.tx == 0 {
		return 0, nil
	}
	c, err := one(b.Changes(ctx, driftdb.ChangeQuery{From: o.tx, To: o.tx}))
	if err != nil || c == nil {
		return o.tx, err
	}
	return c.Tx, nil
}

// print prints what the query selects.
func (o *logOptions) print(ctx context.Context, b *driftdb.Backup, q driftdb.ChangeQuery, p *changePrinter) error {
	if o.tail > 0 {
		last, err := newest(ctx, b, q, o.tail)
		if err != nil {
			return err
		}
		if !o.reverse {
			slices.Reverse(last)
		}
		for _, c := range last {
			if err := p.print(c); err != nil {
				return err
			}
			q.From = c.Sequence + 1
		}
		if !o.follow {
			return nil
		}
		if len(last) > 0 {
			q.Since = time.Time{} // it lies before
		}
	}
	q.Reverse, q.Wait = o.reverse, o.follow
	for c, err := range b.Changes(ctx, q) {
		if err == nil {
			err = p.print(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// newest returns the last n changes that q selects, newest first.
func newest(ctx context.Context, b *driftdb.Backup, q driftdb.ChangeQuery, n int64) (last []driftdb.Change, err error) {
	q.Reverse = true
	for c, err := range b.Changes(ctx, q) {
		if err != nil {
			return nil, err
		}
		if last = append(last, c); int64(len(last)) == n {
			break
		}
	}
	return last, nil
}

// nothing says why nothing is printed.
func (a *app) nothing(ctx context.Context, b *driftdb.Backup, o *logOptions, q driftdb.ChangeQuery) error {
	have, err := kept(ctx, b)
	if err != nil {
		return err
	}
	if o.table != "" {
		q.Table, q.Key = "", nil
		tables, err := tablesOf(ctx, b, q)
		if err != nil {
			return err
		}
		a.stderr.Printf("no changes to table %s selected; of what is selected otherwise, %s\n", word(o.table), tables)
	} else {
		a.stderr.Printf("no changes selected\n")
	}
	a.stderr.Printf("%s\n", have)
	return nil
}
