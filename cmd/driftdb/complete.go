package main

import (
	"context"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completeTimeout is how long a shell waits for what can complete a word.
const completeTimeout = 3 * time.Second

// withFiles are the commands whose arguments are files.
var withFiles = []string{"backup", "doctor", "import", "snapshot", "sync", "undo"}

// completable says what completes the arguments and flags of a command: names of databases
// and tables, which it asks the store and the file for, files, or nothing. The help of a flag
// says whether its value is a file or a folder.
func (a *app) completable(c *cobra.Command) error {
	if !slices.Contains(withFiles, c.Name()) {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	var failed error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		var complete cobra.CompletionFunc
		value, _ := pflag.UnquoteUsage(f)
		switch {
		case value == "FILE":
			return
		case value == "DIR":
			complete = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
		case f.Name == "name":
			complete = a.completeWith(a.databaseNames)
		case f.Name == "table":
			complete = a.completeWith(a.tableNames)
		case f.Name == "store":
			complete = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
				return []string{"file://", "s3://"}, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
			}
		case f.Name == "prefer":
			complete = cobra.FixedCompletions([]string{"ours", "theirs"}, cobra.ShellCompDirectiveNoFileComp)
		default:
			complete = cobra.NoFileCompletions
		}
		if err := c.RegisterFlagCompletionFunc(f.Name, complete); err != nil {
			failed = err
		}
	})
	return failed
}

// completeWith completes with what list returns. An error completes nothing: a shell has no
// place to show it.
func (a *app) completeWith(list func(ctx context.Context, c *cobra.Command, args []string) ([]string, error)) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(c.Context(), completeTimeout)
		defer cancel()
		names, err := list(ctx, c, args)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// given is the value that a flag has so far; "" if there is no such flag.
func given(c *cobra.Command, flag string) string {
	if f := c.Flags().Lookup(flag); f != nil {
		return f.Value.String()
	}
	return ""
}

func (a *app) databaseNames(ctx context.Context, c *cobra.Command, _ []string) ([]string, error) {
	store, err := objstore.Open(ctx, given(c, "store"))
	if err != nil {
		return nil, err
	}
	return driftdb.ListBackups(ctx, driftdb.BackupConfig{Store: store})
}

// mostForTables is how many of the newest changes are read to find names of tables.
const mostForTables = 10_000

// tableNames are the tables of the database's file, if it is named, or else those that the
// newest changes in the store are of.
func (a *app) tableNames(ctx context.Context, c *cobra.Command, args []string) ([]string, error) {
	at := place{url: given(c, "store"), name: given(c, "name")}
	file := given(c, "db")
	if file == "" && len(args) > 0 && slices.Contains(withFiles, c.Name()) {
		file = args[0]
	}
	if _, err := os.Stat(file); err == nil {
		return tablesInFile(ctx, at.name, file)
	}
	b, err := a.open(ctx, at)
	if err != nil {
		return nil, err
	}
	names, n := map[string]bool{}, 0
	for change, err := range b.Changes(ctx, driftdb.ChangeQuery{Reverse: true}) {
		if n++; err != nil || n > mostForTables {
			break // what was found by then is better than nothing
		}
		if change.Table != "" {
			names[change.Table] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// tablesInFile reads a file without writing to it.
func tablesInFile(ctx context.Context, name, file string) ([]string, error) {
	db, err := driftdb.Open(ctx, driftdb.Config{Name: name, Path: file, ReadOnly: true, ManualSync: true})
	if err != nil {
		return nil, err
	}
	defer db.Close() // it has only read
	return driftdb.Select[string](ctx, db, "SELECT name "+objects+" AND type = 'table' ORDER BY name")
}
