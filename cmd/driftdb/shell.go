package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

func (a *app) shellCommand() *cobra.Command {
	o := new(queryOptions)
	c := &cobra.Command{
		Use:   "shell --store URL --name NAME [--at POINT]",
		Short: "Explore the database in the store, now or at an earlier point",
		Long: `Explore the database as it is in the store, now or at an earlier point: a prompt
for SQL statements that only read, which end with a semicolon.

The database is restored to a temporary file, which only you can access and
which is deleted at the end. Your own database is not touched.

  .tables          lists the tables and views
  .schema [TABLE]  prints the statements that make them
  .at              prints the point that you see
  .help            lists these commands
  .quit            ends the shell, as do Ctrl-C and Ctrl-D at the prompt

If standard input is not a terminal, there is no prompt, and the first error
ends the shell. Rows are printed as driftdb query prints them.`,
	}
	o.flags(c)
	return a.command(c, func(ctx context.Context, _ []string) error { return a.runShell(ctx, o) }, "store", "name")
}

func (a *app) runShell(ctx context.Context, o *queryOptions) (err error) {
	db, err := a.view(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	sh := &shell{app: a, name: o.name, db: db, lines: a.stderr.Prompt(a.stdin)}
	if sh.lines.Asks() {
		if err := sh.at(ctx); err != nil {
			return err
		}
		if err := a.stderr.Printf("statements end with ; and .help lists other commands\n"); err != nil {
			return err
		}
	}
	return db.ReadTx(ctx, func(tx *driftdb.Tx) error {
		sh.tx = tx
		return sh.run(ctx)
	})
}

// shell is a session of driftdb shell.
type shell struct {
	*app
	name  string
	db    *driftdb.DB
	tx    *driftdb.Tx // in which everything runs, so that pragmas hold for later statements
	lines *terminal.Prompt
}

// errQuit ends a shell.
var errQuit = errors.New("quit")

// run reads statements and commands until the input ends.
func (sh *shell) run(ctx context.Context) error {
	script := "" // of lines that have not ended a statement yet
	for {
		prompt := "driftdb> "
		if script != "" {
			prompt = "    ...> "
		}
		line, err := sh.lines.Line(ctx, prompt)
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return err
		}
		if script == "" && strings.HasPrefix(line, ".") {
			err = sh.command(ctx, line)
		} else {
			script, err = sh.statements(ctx, script+line+"\n", ended && !sh.lines.Asks())
		}
		switch {
		case errors.Is(err, errQuit):
			return nil
		case err != nil && (!sh.lines.Asks() || ctx.Err() != nil):
			return err
		case err != nil:
			script = ""
			sh.tell(err)
		}
		if ended && sh.lines.Asks() {
			return sh.stderr.Printf("\n") // Ctrl-D leaves the cursor behind the prompt
		}
		if ended {
			return nil
		}
	}
}

// statements runs the statements in script that have ended, and returns the rest. If the
// input has ended, so has the last statement.
func (sh *shell) statements(ctx context.Context, script string, ended bool) (rest string, err error) {
	list, last := splitScript(script)
	if ended && last.text != "" {
		list, last = append(list, last), piece{}
	}
	for _, s := range list {
		if err := sh.printRows(ctx, sh.tx, s.text); err != nil {
			return "", err
		}
	}
	return last.text, nil
}

// tell prints an error, after which the shell goes on.
func (sh *shell) tell(err error) {
	for _, text := range terminal.Lines(err) {
		sh.stderr.Printf("%s\n", strings.TrimPrefix(text, "driftdb: "))
	}
	if hint := hintFor(err); hint != "" {
		sh.stderr.Printf("hint: %s\n", hint)
	}
}

func (sh *shell) command(ctx context.Context, line string) error {
	words := strings.Fields(line)
	switch name, args := words[0], words[1:]; {
	case name == ".tables" && len(args) == 0:
		return sh.tables(ctx)
	case name == ".schema" && len(args) <= 1:
		return sh.schema(ctx, strings.Join(args, ""))
	case name == ".at" && len(args) == 0:
		return sh.at(ctx)
	case name == ".help" && len(args) == 0:
		return sh.stderr.Printf(".tables\n.schema [TABLE]\n.at\n.help\n.quit\nEverything else is SQL that only reads; a statement ends with ;\n")
	case (name == ".quit" || name == ".exit") && len(args) == 0:
		return errQuit
	}
	return fmt.Errorf("%s is not a command; .help lists the commands", strings.TrimSpace(line))
}

// objects are the user's tables, views, indexes and triggers.
const objects = `FROM sqlite_schema WHERE substr(lower(name), 1, 7) <> 'sqlite_' AND substr(lower(tbl_name), 1, 9) <> '_driftdb_' AND sql IS NOT NULL`

func (sh *shell) tables(ctx context.Context) error {
	list, err := driftdb.Select[string](ctx, sh.tx, "SELECT name "+objects+" AND type IN ('table', 'view') ORDER BY name")
	if err != nil {
		return err
	}
	for _, name := range list {
		if err := sh.stdout.Printf("%s\n", word(name)); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		return sh.stderr.Printf("there are no tables\n")
	}
	return nil
}

// schema prints the statements that make a table, with its indexes and triggers, or all of
// them if table is "".
func (sh *shell) schema(ctx context.Context, table string) error {
	list, err := driftdb.Select[string](ctx, sh.tx, "SELECT sql "+objects+" AND (?1 = '' OR tbl_name = ?1 COLLATE NOCASE) ORDER BY tbl_name, rowid", table)
	if err != nil {
		return err
	}
	if len(list) == 0 && table != "" {
		return fmt.Errorf("there is no table %s here; .tables lists them", word(table))
	}
	for _, sql := range list {
		// Lines of the database's text are indented, so that none looks like one of ours.
		for i, line := range strings.Split(sql+";", "\n") {
			indent := ""
			if i > 0 && strings.TrimLeft(line, " \t)") == line {
				indent = "  "
			}
			if err := sh.stdout.Printf("%s%s\n", indent, strings.ReplaceAll(line, "\t", "  ")); err != nil {
				return err
			}
		}
	}
	return nil
}

// at prints the point that the shell shows.
func (sh *shell) at(ctx context.Context) error {
	sequence := sh.db.Sequence()
	if sequence == 0 {
		return sh.stderr.Printf("%s before its first change\n", sh.name)
	}
	for c, err := range sh.db.Changes(ctx, driftdb.ChangeQuery{From: sequence, To: sequence}) {
		if err != nil {
			return err
		}
		return sh.stderr.Printf("%s at change %d of %s\n", sh.name, sequence, stamp(c.Time))
	}
	return sh.stderr.Printf("%s at change %d\n", sh.name, sequence)
}
