package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

type undoOptions struct {
	place
	path         string
	tx, from, to int64
	since        timeFlag
	table        string
	key          []string
	force        bool
	dryRun       bool
}

func (a *app) undoCommand() *cobra.Command {
	o := new(undoOptions)
	c := &cobra.Command{
		Use:   "undo FILE --name NAME [--store URL] --tx N | --from A --to B | --since T [--to B] [--table T [--key K]...] [--dry-run] [--force]",
		Short: "Take transactions back, in one new transaction",
		Long: `Take transactions back: make the rows that they changed what they were before,
in one new transaction of the database FILE. That is uploaded like any other,
and can itself be undone. No program may have FILE open meanwhile.

--tx undoes the transaction that has change N, --from and --to those with the
changes A and B and all between. --since undoes what was committed after a time,
up to now or up to B; the rows are then what driftdb restore --at has for that
time. driftdb log shows the changes. --table and --key undo only the rows of one
table, or only one row: --key id=7, or --key 7 if the key is one column.

What FILE's own log no longer has is read from the store. Without --store
and DRIFTDB_STORE, the undo reaches as far back as that log, and the program
that opens FILE next uploads it.

It is a conflict if a row has been changed since. Then nothing is changed, each
such row is shown as it was before, as the transactions left it, and as it is
now, and the exit code is 6. With --force these rows, too, become what they were
before, and what was changed since is lost.

Triggers do not fire. Changes of the schema cannot be undone, except that an
index, a view, a trigger or an empty table that was created is dropped.

With --dry-run it shows the statements that it would run, and changes nothing.

With --json the result is {"database", "from", "to", "transactions", "undone",
"sequence", "dryRun", "conflicting", "conflicts", "sql", "unlogged"}. A conflict
is {"table", "operation", "key", "before", "after", "current", "sequence", "tx",
"time", "reason"}; before, after and current are null where there is no row. Of
many conflicts the first 10,000 are listed, of many statements the first 1,000.`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(c)
	f := c.Flags()
	f.Int64Var(&o.tx, "tx", 0, "undo the transaction that has change `N`")
	f.Int64Var(&o.from, "from", 0, "undo from the transaction that has change `A` …")
	f.Int64Var(&o.to, "to", 0, "… to the one that has change `B`")
	f.Var(&o.since, "since", "undo what was committed at the time `T` or later, such as \"2h ago\" or \"yesterday 14:00\"")
	f.StringVar(&o.table, "table", "", "undo only the rows of this `TABLE`")
	f.StringArrayVar(&o.key, "key", nil, "undo only the row with this `KEY`: COLUMN=VALUE, or the value; repeated for a key of several columns")
	f.BoolVar(&o.force, "force", false, "undo rows that have been changed since, too")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and change nothing")
	c.MarkFlagsMutuallyExclusive("tx", "from", "since")
	c.MarkFlagsMutuallyExclusive("tx", "to")
	c.MarkFlagsOneRequired("tx", "from", "since")
	return a.command(c, func(ctx context.Context, args []string) error {
		o.path = args[0]
		for _, name := range []string{"tx", "from", "to"} {
			if n, _ := f.GetInt64(name); f.Changed(name) && n < 1 {
				return usagef("--%s %d is too small; the first change is 1", name, n)
			}
		}
		if f.Changed("from") && !f.Changed("to") {
			return usagef("--from needs --to; for one transaction use --tx %d", o.from)
		}
		if len(o.key) > 0 && o.table == "" {
			return usagef("--key needs --table")
		}
		return a.runUndo(ctx, o)
	}, "name")
}

func (a *app) runUndo(ctx context.Context, o *undoOptions) (err error) {
	if err := mustExist(o.path); err != nil {
		return err
	}
	cfg, err := a.undoConfig(ctx, o)
	if err != nil {
		return err
	}
	if err := mustHaveLog(ctx, cfg); err != nil {
		return err
	}
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		return err
	}
	u, err := o.undo(ctx, db)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	r, undoErr := db.Undo(ctx, u)
	if undoErr == nil || len(r.Conflicts) > 0 {
		err = a.reportUndo(o, r, undoErr)
	}
	if errors.Is(undoErr, driftdb.ErrConflict) {
		hint := "--force undoes these rows, too: what came later is lost"
		if o.force {
			hint = "undo what came later first"
		}
		undoErr = hinted{undoErr, hint}
	}
	if r.Sequence == 0 || cfg.Store == nil {
		return errors.Join(undoErr, err, db.Close())
	}
	if sent := db.Shutdown(ctx); sent != nil {
		err = errors.Join(err, hinted{fmt.Errorf("the undo is committed in %s, but not in the bucket: %w", o.path, sent),
			"it is uploaded when the database is opened again and the bucket answers"})
	}
	return err
}

// undoConfig returns the configuration of the database.
func (a *app) undoConfig(ctx context.Context, o *undoOptions) (driftdb.Config, error) {
	cfg := driftdb.Config{Name: o.name, Path: o.path, ManualSync: true, OnEvent: a.warn}
	if o.url == "" {
		if !validName.MatchString(o.name) {
			return cfg, usagef("--name %q is not a valid database name", o.name)
		}
		return cfg, nil
	}
	at, err := a.config(ctx, o.place)
	if err != nil {
		return cfg, err
	}
	cfg.Store, cfg.EncryptionKeys, cfg.ManualSync = at.Store, at.EncryptionKeys, o.dryRun
	return cfg, a.askBucket(ctx, at)
}

// mustHaveLog guards an ordinary SQLite file, which a writer would make a DriftDB database.
func mustHaveLog(ctx context.Context, cfg driftdb.Config) error {
	last, err := lastLogged(ctx, cfg)
	if err != nil {
		return err
	}
	if last == 0 {
		return hinted{fmt.Errorf("%s has no log of changes", cfg.Path), "an undo needs the file that a program writes with DriftDB"}
	}
	return nil
}

// lastLogged returns the last change in a file; 0 if it has no log. It only reads.
func lastLogged(ctx context.Context, cfg driftdb.Config) (int64, error) {
	cfg.ReadOnly, cfg.Store, cfg.ManualSync = true, nil, true
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		return 0, err
	}
	return db.Sequence(), db.Close()
}

// undo returns what to undo.
func (o *undoOptions) undo(ctx context.Context, db *driftdb.DB) (driftdb.Undo, error) {
	u := driftdb.Undo{From: o.from, To: o.to, Table: o.table, Force: o.force, DryRun: o.dryRun}
	switch {
	case o.tx != 0:
		u.From, u.To = o.tx, o.tx
	case o.from == 0:
		first, err := one(db.Changes(ctx, driftdb.ChangeQuery{Since: o.since.Time, To: o.to}))
		if err != nil {
			return u, err
		}
		if first == nil {
			return u, fmt.Errorf("nothing was committed since %s", stamp(o.since.Time))
		}
		if u.From = first.Tx; u.To == 0 {
			u.To = db.Sequence()
		}
	}
	if len(o.key) == 0 {
		return u, nil
	}
	latest, err := one(db.Changes(ctx, driftdb.ChangeQuery{Table: o.table, Reverse: true}))
	if err == nil && latest == nil {
		err = fmt.Errorf("the log has no changes to rows of a table %q", o.table)
	}
	if err != nil {
		return u, err
	}
	u.Key, err = parseKey(o.table, o.key, latest.Key)
	return u, err
}

func (a *app) reportUndo(o *undoOptions, r driftdb.UndoResult, failed error) error {
	if a.json {
		return a.stdout.JSON(jsonUndo(o, r))
	}
	out, flush := a.stdout.Buffered()
	for _, c := range r.Conflicts {
		printUndoConflict(out, c)
	}
	if more := r.Conflicting - len(r.Conflicts); more > 0 {
		out.Printf("and %s more\n", plural(int64(more), "conflict", "conflicts"))
	}
	if failed == nil {
		printUndone(out, o, r)
	}
	return flush()
}

func printUndone(out *terminal.Screen, o *undoOptions, r driftdb.UndoResult) {
	what := fmt.Sprintf("%s (changes %d to %d)", plural(int64(r.Transactions), "transaction", "transactions"), r.From, r.To)
	rows := plural(int64(r.Undone), "row", "rows")
	switch {
	case len(r.SQL) == 0:
		out.Printf("nothing to undo in %s: the rows are what they were before\n", what)
	case o.dryRun:
		for _, s := range r.SQL {
			out.Printf("%s\n", s)
		}
		out.Printf("would undo %s: %s\n", what, rows)
	default:
		out.Printf("undid %s: %s\n", what, rows)
		if r.Unlogged != "" {
			out.Printf("this cannot be undone, because the log cannot describe it: %s\n", r.Unlogged)
			return
		}
		out.Printf("to take that back: driftdb undo %s --name %s%s --tx %d\n", o.path, o.name, o.again(), r.Sequence)
	}
}

// again returns the flag of the store, for a command to type.
func (o *undoOptions) again() string {
	if o.url == "" {
		return ""
	}
	return " --store '" + o.url + "'"
}

func printUndoConflict(out *terminal.Screen, c driftdb.Change) {
	if c.Reason != "" {
		out.Printf("conflict: %s [%s]: %s\n", word(c.Table), strings.Join(pairs(c.Key), " "), c.Reason)
		return
	}
	by := ""
	if c.Sequence != 0 {
		by = fmt.Sprintf(" by change %d at %s", c.Sequence, stamp(c.Time))
	}
	out.Printf("conflict: %s [%s] has been changed since%s\n", word(c.Table), strings.Join(pairs(c.Key), " "), by)
	for _, v := range []struct {
		name string
		row  map[string]any
	}{{"before", c.Before}, {"after", c.After}, {"now", c.Current}} {
		text := "(no such row)"
		if v.row != nil {
			text = strings.Join(inOrder(c.Columns, v.row), " ")
		}
		out.Printf("  %-6s %s\n", v.name, text)
	}
}

// inOrder formats a row's columns in the order of the table.
func inOrder(columns []string, row map[string]any) (out []string) {
	for _, name := range columns {
		if v, ok := row[name]; ok {
			out = append(out, word(name)+"="+literal(v))
		}
	}
	return out
}

// undoJSON is the result with --json.
type undoJSON struct {
	Database     string             `json:"database"`
	From         int64              `json:"from"`
	To           int64              `json:"to"`
	Transactions int                `json:"transactions"`
	Undone       int                `json:"undone"`
	Sequence     int64              `json:"sequence"`
	DryRun       bool               `json:"dryRun"`
	Conflicting  int                `json:"conflicting"`
	Conflicts    []undoConflictJSON `json:"conflicts"`
	SQL          []string           `json:"sql"`
	Unlogged     string             `json:"unlogged,omitempty"`
}

type undoConflictJSON struct {
	Table     string            `json:"table"`
	Operation driftdb.Operation `json:"operation"`
	Key       map[string]any    `json:"key"`
	Before    map[string]any    `json:"before"`
	After     map[string]any    `json:"after"`
	Current   map[string]any    `json:"current"`
	Sequence  int64             `json:"sequence,omitempty"`
	Tx        int64             `json:"tx,omitempty"`
	Time      instant           `json:"time,omitzero"`
	Reason    string            `json:"reason,omitempty"`
}

func jsonUndo(o *undoOptions, r driftdb.UndoResult) undoJSON {
	out := undoJSON{
		Database: o.name, From: r.From, To: r.To, Transactions: r.Transactions, Undone: r.Undone, Sequence: r.Sequence, DryRun: o.dryRun,
		Conflicting: r.Conflicting, Conflicts: []undoConflictJSON{}, SQL: append([]string{}, r.SQL...), Unlogged: r.Unlogged,
	}
	for _, c := range r.Conflicts {
		out.Conflicts = append(out.Conflicts, undoConflictJSON{
			Table: c.Table, Operation: c.Operation, Key: tagged(c.Key), Before: tagged(c.Before), After: tagged(c.After), Current: tagged(c.Current),
			Sequence: c.Sequence, Tx: c.Tx, Time: instant(c.Time), Reason: c.Reason,
		})
	}
	return out
}
