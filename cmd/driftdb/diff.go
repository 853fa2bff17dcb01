package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

type diffOptions struct {
	place
	table     string
	stat, sql bool
	from, to  driftdb.Point
	names     [2]string // of the points, as they were given
}

func (a *app) diffCommand() *cobra.Command {
	o := new(diffOptions)
	c := &cobra.Command{
		Use:   "diff --store URL --name NAME [--table T] [--stat | --sql] A B",
		Short: "Print how a database differs between two points",
		Long: `Print how a database differs between two points, A and B: what to do to the
state at A to get the state at B. Of a row that was changed more than once it
shows one line.

A point is the number of a change, as driftdb log prints it, or a time, such as
"2h ago", "yesterday 14:00" or 2026-01-31T18:00:00Z. If B is before A, the
differences are the reverse ones.

Lines begin with + for a row that B has and A does not, - for one that only A
has, and ~ for one that changed, with each changed value before and after.
Changes of the schema come first. With --stat there is one line for each table.

With --sql the result is a script for the sqlite3 shell, which makes the state
at B of a database that has the state at A, in one transaction. It needs care
where a UNIQUE constraint is over several columns: if rows exchange their values
and each changes other columns of it, the script stops and changes nothing.

The differences come from the log. Where the log does not show them, driftdb
says so and compares two restored copies.

With --json each line is an object as that of driftdb log --json, and with
--stat the result is {"tables", "schema", "compared"}: tables is a list of
{"table", "inserted", "updated", "deleted"}.`,
		Args: cobra.ExactArgs(2),
	}
	o.flags(c)
	c.Flags().StringVar(&o.table, "table", "", "only the rows of this `TABLE`")
	c.Flags().BoolVar(&o.stat, "stat", false, "only count the rows of each table")
	c.Flags().BoolVar(&o.sql, "sql", false, "print a script for the sqlite3 shell")
	return a.command(c, func(ctx context.Context, args []string) (err error) {
		if o.stat && o.sql || o.sql && a.json {
			return usagef("--sql cannot be combined with --stat or --json")
		}
		o.names = [2]string(args)
		if o.from, err = parsePoint(args[0]); err != nil {
			return err
		}
		if o.to, err = parsePoint(args[1]); err != nil {
			return err
		}
		return a.runDiff(ctx, o)
	}, "store", "name")
}

func (a *app) runDiff(ctx context.Context, o *diffOptions) error {
	b, err := a.open(ctx, o.place)
	if err != nil {
		return err
	}
	if o.sql {
		return a.runDiffSQL(ctx, b, o)
	}
	out, flush := a.stdout.Buffered()
	p := diffPrinter(&diffText{out: out})
	switch {
	case o.stat:
		p = &diffStat{out: out, layout: a.stdout.Layout(), json: a.json, tables: map[string]*tableStat{}}
	case a.json:
		p = diffJSON{out}
	}
	found := false
	for c, err := range b.Diff(ctx, o.from, o.to) {
		if err != nil {
			return errors.Join(err, flush())
		}
		if c.Operation == driftdb.OperationBarrier {
			a.stderr.Printf("note: comparing two restored copies: %s\n", c.Reason)
		} else if o.table != "" && !strings.EqualFold(o.table, c.Table) {
			continue
		} else {
			found = true
		}
		if err := p.add(c); err != nil {
			return err
		}
	}
	if err := errors.Join(p.end(), flush()); err != nil {
		return err
	}
	if !found {
		a.noDifferences(o)
	}
	return nil
}

func (a *app) noDifferences(o *diffOptions) {
	where := ""
	if o.table != "" {
		where = " in table " + o.table
	}
	a.stderr.Printf("no differences between %s and %s%s\n", o.names[0], o.names[1], where)
}

func (a *app) runDiffSQL(ctx context.Context, b *driftdb.Backup, o *diffOptions) error {
	print, flush := a.stdout.Script()
	found := false
	for line, err := range b.DiffSQL(ctx, o.from, o.to, o.table) {
		if err != nil {
			return errors.Join(err, flush())
		}
		if note, ok := strings.CutPrefix(line, "-- "); ok {
			a.stderr.Printf("note: %s\n", note)
		} else {
			found = true
		}
		if err := print(line); err != nil {
			return err
		}
	}
	if !found {
		a.noDifferences(o)
	}
	return flush()
}

// diffPrinter prints differences in one of the forms that there are.
type diffPrinter interface {
	add(c driftdb.Change) error
	end() error
}

type diffJSON struct{ out *terminal.Screen }

func (p diffJSON) add(c driftdb.Change) error { return p.out.JSON(jsonChange(c)) }
func (p diffJSON) end() error                 { return nil }

// diffText prints a table's rows below its name, with their values in columns.
type diffText struct {
	out   *terminal.Screen
	table string
	rows  [][]string // of the table, read and not printed yet
}

// diffChunk is how many rows are aligned with each other.
const diffChunk = 200

func (p *diffText) add(c driftdb.Change) error {
	switch {
	case c.Operation == driftdb.OperationBarrier:
		return nil
	case c.Operation == driftdb.OperationSchema:
		if err := p.end(); err != nil {
			return err
		}
		p.table = ""
		return p.out.Printf("schema: %s\n", strings.Join(strings.Fields(c.SQL), " "))
	case c.Table != p.table || len(p.rows) >= diffChunk:
		if err := p.end(); err != nil {
			return err
		}
		if c.Table != p.table {
			p.table = c.Table
			if err := p.out.Printf("%s\n", word(c.Table)); err != nil {
				return err
			}
		}
	}
	sign := map[driftdb.Operation]string{driftdb.OperationInsert: "+", driftdb.OperationDelete: "-", driftdb.OperationUpdate: "~"}[c.Operation]
	row := []string{"  " + sign, "[" + strings.Join(pairs(c.Key), " ") + "]"}
	p.rows = append(p.rows, append(row, valuesOf(c)...))
	return nil
}

// valuesOf formats a row's values, or those that an update changes. The key is shown before
// them.
func valuesOf(c driftdb.Change) (out []string) {
	if from, to, moved := c.MovedRow(); moved {
		out = append(out, fmt.Sprintf("rowid=%d -> %d", from, to))
	}
	for _, name := range c.Columns {
		_, isKey := c.Key[name]
		before, known := c.Before[name]
		changed := !known || literal(before) != literal(c.After[name])
		if c.Operation == driftdb.OperationUpdate && changed || c.Operation != driftdb.OperationUpdate && !isKey {
			out = append(out, word(name)+"="+columnText(c, name, " -> "))
		}
	}
	return out
}

func (p *diffText) end() error {
	if len(p.rows) == 0 {
		return nil
	}
	lines, err := terminal.Align(p.rows)
	for _, line := range lines {
		err = errors.Join(err, p.out.Printf("%s\n", line))
	}
	p.rows = nil
	return err
}

// diffStat counts the rows of each table.
type diffStat struct {
	out      *terminal.Screen
	layout   terminal.Layout
	json     bool
	tables   map[string]*tableStat
	schema   []string
	compared bool
}

type tableStat struct {
	Table    string `json:"table"`
	Inserted int64  `json:"inserted"`
	Updated  int64  `json:"updated"`
	Deleted  int64  `json:"deleted"`
}

func (p *diffStat) add(c driftdb.Change) error {
	switch c.Operation {
	case driftdb.OperationBarrier:
		p.compared = true
		return nil
	case driftdb.OperationSchema:
		p.schema = append(p.schema, c.SQL)
		return nil
	}
	t := p.tables[c.Table]
	if t == nil {
		t = &tableStat{Table: c.Table}
		p.tables[c.Table] = t
	}
	switch c.Operation {
	case driftdb.OperationInsert:
		t.Inserted++
	case driftdb.OperationUpdate:
		t.Updated++
	case driftdb.OperationDelete:
		t.Deleted++
	}
	return nil
}

func (p *diffStat) end() error {
	list := []*tableStat{}
	for _, name := range slices.Sorted(maps.Keys(p.tables)) {
		list = append(list, p.tables[name])
	}
	if p.json {
		return p.out.JSON(struct {
			Tables   []*tableStat `json:"tables"`
			Schema   []string     `json:"schema,omitempty"`
			Compared bool         `json:"compared"`
		}{list, p.schema, p.compared})
	}
	var err error
	for _, sql := range p.schema {
		err = errors.Join(err, p.out.Printf("schema: %s\n", strings.Join(strings.Fields(sql), " ")))
	}
	if len(list) == 0 {
		return err
	}
	table := p.out.Table(p.layout, terminal.Column{Name: "table", Shrink: true},
		terminal.Column{Name: "inserted", Right: true}, terminal.Column{Name: "updated", Right: true}, terminal.Column{Name: "deleted", Right: true})
	number := func(n int64) terminal.Cell {
		return terminal.Cell{Text: count(n), Raw: strconv.FormatInt(n, 10)}
	}
	for _, t := range list {
		table.Add(terminal.Cell{Text: word(t.Table)}, number(t.Inserted), number(t.Updated), number(t.Deleted))
	}
	return errors.Join(err, table.Flush())
}
