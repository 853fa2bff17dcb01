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
	deliveryOptions
	tx, tail             int64
	reverse, follow, sql bool
}

func (a *app) logCommand() *cobra.Command {
	o := new(logOptions)
	c := &cobra.Command{
		Use: "log --store URL --name NAME [--from N] [--to N] [--since TIME] [--until TIME] [--table T [--key K]]" +
			" [--tx N] [--tail N] [--reverse] [--follow] [--sql]\n" +
			"  driftdb log --store URL | --db FILE [--store URL] --name NAME --follow --exec CMD | --webhook URL [--secret-file FILE]" +
			" [--state FILE] [--from N] [--table T] [--attempts N]",
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

--follow --exec runs the shell command CMD for each transaction, in order, and
--webhook posts each one to URL. Both get an object with "database", "tx",
"last" (the sequence of its last change), "time", and "changes", which are as
with --json: on standard input, or as the body. CMD also has DRIFTDB_DATABASE,
DRIFTDB_TX, DRIFTDB_SEQUENCE (that of "last") and DRIFTDB_ATTEMPT. A transaction
is handed over if CMD exits with 0, or URL answers 200 to 299 within 30 seconds;
the next one comes only then. After a failure it tries again: after a second,
after two, and so on up to a minute, or after what Retry-After says, up to five.
After --attempts failures, or at once if the answer is a redirect or another
4xx than 408, 409, 425 and 429, it stops with an error; it never skips one. With
--table, transactions without rows of the table are passed over; barriers are
not: they say that the log cannot describe what happened, so read the tables
again.

With --state, FILE keeps how far it has come, and the next run goes on there: a
transaction is handed over at least once. Without it, or if FILE is not there
yet, it begins with --from, or with what comes from now on. One run at a time
can use a FILE.

A request has the headers of the Standard Webhooks: Webhook-Id (NAME/tx, the
same for each attempt), Webhook-Timestamp (Unix seconds) and, if there is a
secret, Webhook-Signature: v1, and the base64 of the HMAC-SHA256 of ID, a dot,
the timestamp, a dot, and the body. The secret is in DRIFTDB_WEBHOOK_SECRET or
in --secret-file: whsec_ with the secret in base64, or the secret itself, of 24
bytes or more. Driftdb-Attempt counts from 1.

--db reads from the FILE that a program on this machine is writing, within
milliseconds, and from the store only what FILE no longer has.

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
	o.deliveryOptions.flags(c)
	c.Flags().Int64Var(&o.tx, "tx", 0, "only the transaction that has change `N`")
	c.Flags().Int64Var(&o.tail, "tail", 0, "only the last `N` changes")
	c.Flags().BoolVar(&o.reverse, "reverse", false, "newest first")
	c.Flags().BoolVar(&o.follow, "follow", false, "go on with changes as they arrive")
	c.Flags().BoolVar(&o.sql, "sql", false, "print statements that make the changes again")
	return a.command(c, func(ctx context.Context, _ []string) error {
		if err := o.check(c.Flags().Changed, a.json); err != nil {
			return err
		}
		if o.wanted() {
			return a.runDelivery(ctx, o)
		}
		return a.runLog(ctx, o)
	}, "name")
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
	if err := o.checkDelivery(changed, json); err != nil {
		return err
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
