package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

type queryOptions struct {
	place
	at pointFlag
}

// pointFlag is the value of a flag that takes a point.
type pointFlag struct {
	driftdb.Point
	text string
}

// Set implements pflag.Value.
func (f *pointFlag) Set(text string) (err error) {
	f.text = text
	f.Point, err = parsePoint(text)
	return err
}

func (f *pointFlag) String() string { return f.text }

// Type implements pflag.Value.
func (f *pointFlag) Type() string { return "point" }

func (o *queryOptions) flags(c *cobra.Command) {
	o.place.flags(c)
	c.Flags().Var(&o.at, "at", "the database as it was at this `POINT`: a time, such as \"2026-01-31 18:00\" or \"2h ago\", or the number of a change (default: the latest)")
}

func (a *app) queryCommand() *cobra.Command {
	o := new(queryOptions)
	c := &cobra.Command{
		Use:   "query --store URL --name NAME [--at POINT] SQL",
		Short: "Run SQL on the database in the store, now or at an earlier point",
		Long: `Run SQL on the database as it is in the store, now or at an earlier point. SQL
is one or more statements that only read; - reads them from standard input.

The database is restored to a temporary file, which only you can access and
which is deleted at the end. Your own database is not touched.

On a terminal the rows are printed in columns; elsewhere as lines with a tab
between the columns, after a line with their names. The number of rows goes to
standard error. NULL is printed as NULL, a blob as x'00ff', control characters
are escaped.

With --json each row is an object, one per line. Values that JSON cannot express
are tagged: see driftdb log --help.`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(c)
	return a.command(c, func(ctx context.Context, args []string) error { return a.runQuery(ctx, o, args[0]) }, "store", "name")
}

func (a *app) runQuery(ctx context.Context, o *queryOptions, script string) (err error) {
	if script == "-" {
		text, err := io.ReadAll(a.stdin)
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
		script = string(text)
	}
	list, rest := splitScript(script)
	if rest.text != "" {
		list = append(list, rest)
	}
	if len(list) == 0 {
		return usagef("there is no statement to run")
	}
	db, err := a.view(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.ReadTx(ctx, func(tx *driftdb.Tx) error {
		for i, s := range list {
			if err := a.printRows(ctx, tx, s.text); err != nil {
				if len(list) > 1 {
					err = placed{err, i + 1, s.line}
				}
				return err
			}
		}
		return nil
	})
}

// placed is the error of a statement in a script.
type placed struct {
	error
	number, line int
}

func (e placed) Unwrap() error { return e.error }

func (e placed) Error() string {
	return fmt.Sprintf("statement %d, line %d: %s", e.number, e.line, strings.TrimPrefix(e.error.Error(), "driftdb: "))
}

// view opens the database as it was at the point that o names.
func (a *app) view(ctx context.Context, o *queryOptions) (*driftdb.DB, error) {
	b, err := a.open(ctx, o.place)
	if err != nil {
		return nil, err
	}
	return b.View(ctx, o.at.Point)
}

// printRows runs a statement and prints its rows. Each call has its own result.
func (a *app) printRows(ctx context.Context, db driftdb.Conn, query string) error {
	out, flush := a.stdout.Buffered()
	t := &table{out: out, layout: a.stdout.Layout(), json: a.json}
	rows := int64(0)
	for r, err := range driftdb.SelectEach(ctx, db, query) {
		if err == nil && rows == 0 {
			err = t.begin(r.Columns)
		}
		if err == nil {
			err = t.add(r.Values)
		}
		if err != nil {
			return errors.Join(refused(err), t.end(), flush())
		}
		rows++
	}
	if err := errors.Join(t.end(), flush()); err != nil {
		return err
	}
	if rows == 0 {
		return a.stderr.Printf("no rows\n")
	}
	if t.cut {
		a.stderr.Printf("note: some values are cut to fit the terminal; with --json, or in a pipe, they are whole\n")
	}
	return a.stderr.Printf("%s\n", plural(rows, "row", "rows"))
}

// refused explains the failure of a statement that would write.
func refused(err error) error {
	if errors.Is(err, driftdb.ErrReadOnly) {
		return hinted{errors.New("the past cannot be changed: this statement would write, and here statements can only read"), "run it on the database itself"}
	}
	return err
}
