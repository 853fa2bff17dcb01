package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

func (a *app) detachCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "detach --db FILE",
		Short: "Turn a database file into an independent copy",
		Long: `Turn a database file into an independent copy: an ordinary SQLite database that
keeps all its data, and forgets its name, its log and the store. A program can
open it under any unused name, where it starts a backup of its own.

Changes not yet uploaded stay in the file, but the old name's backup will not
receive them. If the file and its store have diverged and you want to keep one
history, use driftdb resolve instead: it merges the two.

No program may have the file open. detach does not use the network.

With --json the result is {"file"}.`,
	}
	c.Flags().StringVar(&path, "db", "", "`FILE` of the database")
	return a.command(c, func(context.Context, []string) error { return a.runDetach(path) }, "db")
}

func (a *app) runDetach(path string) error {
	if err := mustExist(path); err != nil {
		return err
	}
	if err := driftdb.Detach(path); err != nil {
		return err
	}
	return a.report(struct {
		File string `json:"file"`
	}{path}, "%s is an independent copy now; open it under any unused name\n", path)
}

// mustExist guards calls that would otherwise create the file, or its lock.
func mustExist(path string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = hinted{err, "name the file that the program writes to"}
	}
	return err
}
