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
		Short: "Make a database's file a free copy, which may begin another backup",
		Long: `Make a database's file a free copy: an ordinary SQLite database that keeps all
its data, and forgets its name, its log and the store. A program may open it
under any name that is free; there it begins a backup of its own.

What was not sent is not lost, since it is in the file; the old name's backup
does not get it any more. If the file and its store have diverged, and it is one
history that is wanted, driftdb resolve makes one of both.

No program may have the file open. It uses no network.

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
	}{path}, "%s is a free copy now; it may be opened under a name that is free\n", path)
}

// mustExist is for what would otherwise make a file, or its lock.
func mustExist(path string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = hinted{err, "--db names the file with which the database is written to"}
	}
	return err
}
