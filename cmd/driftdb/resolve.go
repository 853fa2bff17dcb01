package main

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

type resolveOptions struct {
	place
	path, prefer string
	tables       []string
	dryRun       bool
}

func (a *app) resolveCommand() *cobra.Command {
	o := new(resolveOptions)
	c := &cobra.Command{
		Use:   "resolve --db FILE --store URL --name NAME [--dry-run] [--prefer ours|theirs] [--table T=ours|theirs]...",
		Short: "Merge a file and a store that have diverged",
		Long: `Merge a file and a store that have diverged: two machines wrote offline, another
writer took over, or a laptop was closed before it had uploaded everything.

It shows what each side has that the other lacks, row by row, since the last
change that both have. Then it replaces FILE by one that has the store's history
and, on top of that, FILE's own changes. The program that opens FILE next
uploads them. No program may have FILE open meanwhile.

It is a conflict if both changed a row to different values, if both used the
same new key, if together they violate a UNIQUE or foreign key constraint, or if
one altered a table that the other wrote to. Unless you choose a side for each
conflict, nothing is changed and the exit code is 6. --prefer chooses the side
for all tables, --table for one: ours is FILE's, theirs the store's.

Nothing is lost: before FILE is replaced, its contents are stored as a branch.
driftdb status lists it, driftdb restore --branch writes it to a file.

With --dry-run it shows what it would do, and changes nothing. The exit code is
6 if a conflict has no side.

With --json the result is {"database", "diverged", "common", "latest", "ours",
"theirs", "conflicts", "resolved", "applied", "sequence", "branch"}. ours and
theirs are lists of changes as in driftdb log --json, without the sequences. A
conflict is {"kind", "table", "key", "base", "ours", "theirs", "other",
"choice"}: other is the second row of the conflict, if there is one; base, ours
and theirs are null where there is no such row.`,
	}
	o.flags(c)
	c.Flags().StringVar(&o.path, "db", "", "`FILE` of the database that has diverged")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and change nothing")
	c.Flags().StringVar(&o.prefer, "prefer", "", "the `SIDE` that wins a conflict: ours or theirs")
	c.Flags().StringArrayVar(&o.tables, "table", nil, "`T=SIDE`, the side that wins in table T; may be repeated")
	return a.command(c, func(ctx context.Context, _ []string) error { return a.runResolve(ctx, o) }, "db", "store", "name")
}

// sides reads the choices.
func (o *resolveOptions) sides() (prefer driftdb.Side, tables map[string]driftdb.Side, err error) {
	if prefer = driftdb.Side(o.prefer); prefer != "" && prefer != driftdb.Ours && prefer != driftdb.Theirs {
		return "", nil, usagef("--prefer %s is not a side; choose ours (the file's) or theirs (the store's)", o.prefer)
	}
	tables = map[string]driftdb.Side{}
	for _, t := range o.tables {
		at := strings.LastIndexByte(t, '=')
		side := driftdb.Side(t[at+1:])
		if at < 1 || side != driftdb.Ours && side != driftdb.Theirs {
			return "", nil, usagef("--table %s does not name a table and a side; write it as users=ours or users=theirs", t)
		}
		tables[t[:at]] = side
	}
	return prefer, tables, nil
}

func (a *app) runResolve(ctx context.Context, o *resolveOptions) error {
	prefer, tables, err := o.sides()
	if err != nil {
		return err
	}
	cfg, err := a.config(ctx, o.place)
	if err != nil {
		return err
	}
	if err := mustExist(o.path); err != nil {
		return err
	}
	bar := a.stderr.Bar("restoring", -1)
	r, err := driftdb.Resolve(ctx, driftdb.ResolveConfig{
		Name: o.name, Path: o.path, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys,
		Prefer: prefer, Tables: tables, DryRun: o.dryRun,
		OnProgress: onBar(bar),
	})
	bar.Stop()
	if err != nil && !errors.Is(err, driftdb.ErrConflict) {
		return err
	}
	if perr := a.reportResolved(o, r); perr != nil {
		return perr
	}
	if err == nil && undecided(r) > 0 {
		err = driftdb.ErrConflict // of a dry run
	}
	return err
}

func undecided(r driftdb.ResolveResult) (n int64) {
	for _, c := range r.Conflicts {
		if c.Choice == "" {
			n++
		}
	}
	return n
}

func (a *app) reportResolved(o *resolveOptions, r driftdb.ResolveResult) error {
	if a.json {
		return a.stdout.JSON(jsonResolved(o.name, r))
	}
	out, flush := a.stdout.Buffered()
	if !r.Diverged {
		out.Printf("%s and %s have not diverged; opening the file brings it up to date\n", o.path, o.name)
		return flush()
	}
	out.Printf("%s and %s have changes up to %d in common\n", o.path, o.name, r.Common)
	printChanges(out, "only the file has", r.Ours)
	printChanges(out, "only the store has", r.Theirs)
	for _, c := range r.Conflicts {
		printConflict(out, c)
	}
	if r.Resolved {
		out.Printf("resolved %s: applied %s from the file on top of the store's change %d, decided %s; the file's old contents are branch %s\n",
			o.name, plural(int64(r.Applied), "change", "changes"), r.Latest, plural(int64(len(r.Conflicts)), "conflict", "conflicts"), r.Branch)
	}
	return flush()
}

func printChanges(out *terminal.Screen, what string, list []driftdb.Change) {
	out.Printf("%s %s\n", what, plural(int64(len(list)), "change", "changes"))
	for _, c := range list {
		out.Printf("  %s\n", sideLine(c))
	}
}

// sideLine formats a change without its sequence and time, an update without its
// unchanged columns.
func sideLine(c driftdb.Change) string {
	if c.Operation == driftdb.OperationUpdate {
		after := maps.Clone(c.After)
		maps.DeleteFunc(after, func(name string, v any) bool { return literal(v) == literal(c.Before[name]) })
		c.After = after
	}
	line := changeLine(c)
	for range 2 {
		_, line, _ = strings.Cut(line, " ")
	}
	return line
}

func printConflict(out *terminal.Screen, c driftdb.Conflict) {
	choice := "no side chosen"
	if c.Choice != "" {
		choice = string(c.Choice)
	}
	out.Printf("conflict: %s %s [%s]: %s\n", word(c.Table), string(c.Kind), strings.Join(pairs(c.Key), " "), choice)
	printVersions(out, c.ConflictRow)
	if c.Other != nil {
		out.Printf("  with %s [%s]\n", word(c.Other.Table), strings.Join(pairs(c.Other.Key), " "))
		printVersions(out, *c.Other)
	}
}

func printVersions(out *terminal.Screen, r driftdb.ConflictRow) {
	for _, v := range []struct {
		name string
		row  map[string]any
	}{{"base", r.Base}, {"ours", r.Ours}, {"theirs", r.Theirs}} {
		text := "(no such row)"
		if v.row != nil {
			text = strings.Join(pairs(v.row), " ")
		}
		out.Printf("  %-6s %s\n", v.name, text)
	}
}

// resolvedJSON is the result with --json.
type resolvedJSON struct {
	Database  string         `json:"database"`
	Diverged  bool           `json:"diverged"`
	Common    int64          `json:"common"`
	Latest    int64          `json:"latest"`
	Ours      []sideJSON     `json:"ours"`
	Theirs    []sideJSON     `json:"theirs"`
	Conflicts []conflictJSON `json:"conflicts"`
	Resolved  bool           `json:"resolved"`
	Applied   int            `json:"applied"`
	Sequence  int64          `json:"sequence"`
	Branch    string         `json:"branch,omitempty"`
}

// sideJSON is a change that only one side has.
type sideJSON struct {
	Operation driftdb.Operation `json:"operation"`
	Table     string            `json:"table"`
	Key       map[string]any    `json:"key,omitempty"`
	Before    map[string]any    `json:"before,omitempty"`
	After     map[string]any    `json:"after,omitempty"`
	SQL       string            `json:"sql,omitempty"`
}

type conflictJSON struct {
	Kind driftdb.ConflictKind `json:"kind"`
	versionsJSON
	Other  *versionsJSON `json:"other,omitempty"`
	Choice driftdb.Side  `json:"choice,omitempty"`
}

type versionsJSON struct {
	Table  string         `json:"table"`
	Key    map[string]any `json:"key"`
	Base   map[string]any `json:"base"`
	Ours   map[string]any `json:"ours"`
	Theirs map[string]any `json:"theirs"`
}

func jsonResolved(name string, r driftdb.ResolveResult) resolvedJSON {
	out := resolvedJSON{
		Database: name, Diverged: r.Diverged, Common: r.Common, Latest: r.Latest, Ours: jsonSide(r.Ours), Theirs: jsonSide(r.Theirs),
		Conflicts: []conflictJSON{}, Resolved: r.Resolved, Applied: r.Applied, Sequence: r.Sequence, Branch: r.Branch,
	}
	for _, c := range r.Conflicts {
		j := conflictJSON{Kind: c.Kind, versionsJSON: jsonVersions(c.ConflictRow), Choice: c.Choice}
		if c.Other != nil {
			other := jsonVersions(*c.Other)
			j.Other = &other
		}
		out.Conflicts = append(out.Conflicts, j)
	}
	return out
}

func jsonSide(list []driftdb.Change) []sideJSON {
	out := []sideJSON{}
	for _, c := range list {
		out = append(out, sideJSON{Operation: c.Operation, Table: c.Table, Key: tagged(c.Key), Before: tagged(c.Before), After: tagged(c.After), SQL: c.SQL})
	}
	return out
}

func jsonVersions(r driftdb.ConflictRow) versionsJSON {
	return versionsJSON{r.Table, tagged(r.Key), tagged(r.Base), tagged(r.Ours), tagged(r.Theirs)}
}
