package main

import (
	"bufio"
	"context"
	"io"
	"strings"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

func (a *app) deleteCommand() *cobra.Command {
	var p place
	var yes bool
	c := &cobra.Command{
		Use:   "delete --store URL --name NAME [--yes]",
		Short: "Delete a backup",
		Long: `Delete what the store holds of a database. Nothing of it can be restored
afterwards. The database's own file stays as it is.

delete asks for the name of the database again, on standard input, unless --yes
is given. Close the database first: a program that still has it open loses its
backup, and refuses to write (ErrFenced).

Forks of the database keep what they need of it: they can still be restored and
forked, and the objects go once no fork needs them. Until then the name cannot
be used again. Deleting a fork does not affect the database it came from.

If delete is interrupted, nothing can be restored any more, and running it again
deletes the rest. A small object stays in place of the manifest: it tells
programs that the backup was deleted, and not lost. A new backup replaces it.

With --json the result is {"database", "objects", "bytes", "forks"}: what was
deleted, and the forks that still use objects of the database, if any.`,
	}
	p.flags(c)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for the name again")
	return a.command(c, func(ctx context.Context, _ []string) error {
		return a.runDelete(ctx, p, yes)
	}, "store", "name")
}

// removed is the result of a deletion.
type removed struct {
	Database string   `json:"database"`
	Objects  int      `json:"objects"`
	Bytes    int64    `json:"bytes"`
	Forks    []string `json:"forks,omitempty"`
}

func (a *app) runDelete(ctx context.Context, p place, yes bool) error {
	cfg, err := a.config(ctx, p)
	if err != nil {
		return err
	}
	if !yes {
		a.stderr.Printf("This deletes the backup of %s. Type its name to go on: ", p.name)
		line, err := bufio.NewReader(a.stdin).ReadString('\n')
		if strings.TrimSpace(line) != p.name {
			if err == io.EOF {
				a.stderr.Printf("\n")
			}
			return usagef("that is not its name; nothing was deleted")
		}
	}
	d, err := driftdb.DeleteBackup(ctx, cfg)
	if err != nil {
		return err
	}
	if len(d.Forks) > 0 {
		a.stderr.Printf("note: forks still use objects of %s, which stay until then: %s\n", p.name, strings.Join(d.Forks, ", "))
	}
	return a.report(removed{p.name, d.Objects, d.Bytes, d.Forks},
		"deleted the backup of %s: %s (%s)\n", p.name, plural(int64(d.Objects), "object", "objects"), size(d.Bytes))
}
