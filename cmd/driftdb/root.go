package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

// app is one run of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr *terminal.Screen

	json    bool
	keyFile string

	// started is set once a command's flags and arguments are parsed: errors
	// before that are usage errors.
	started bool
}

// run executes the command that args name and returns the exit code. Results
// go to stdout, everything else to stderr.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: terminal.New(stdout), stderr: terminal.New(stderr)}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout) // help
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if !a.started {
		err = usage(err)
	}
	return a.fail(ctx, cmd, err)
}

// helpWidth is how wide the help is at least, in characters.
const helpWidth = 80

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "driftdb COMMAND [--json] [--key-file FILE]",
		Short: "Import, restore and maintain SQLite databases backed up to a bucket",
		Long: `driftdb imports, restores and maintains SQLite databases backed up to a bucket.

A store is a URL:

  file:///path/to/folder                           a folder, which must exist
  s3://bucket?region=REGION                        Amazon S3
  s3://bucket/prefix?endpoint=URL&path_style=true  a service with its protocol

The default prefix is driftdb, as in the Go library; s3://bucket?prefix=/ is the
root of the bucket. An s3 URL may also have sse, kms_key_id and storage_class,
which apply to every object stored, and checksums=false. Credentials for S3 come
from the usual places: the environment, a profile, or the machine's role.
DRIFTDB_STORE has the URL for all commands that are not given --store.

If the bucket is encrypted, its keys come from --key-file, or from the file that
DRIFTDB_KEY_FILE names (one key per line, # starts a comment), or from
DRIFTDB_KEY (64 hex digits each, separated by commas). The first key encrypts,
all of them decrypt. driftdb keygen makes a key. driftdb warns about a key file
that other users may read or write.

Results go to standard output, everything else to standard error. On a terminal
tables fit its width and have colours, unless NO_COLOR is set; elsewhere there
are tabs between the columns. --json is meant for programs. Control characters
in names and values are escaped, as \n or \x1b.

driftdb completion SHELL prints a script that lets a shell complete commands,
flags, files, and the names of databases and tables.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no backup found, 4 damaged data,
5 wrong or missing key, 6 conflicts that need a choice, 130 ended by Ctrl-C, 143
ended by SIGTERM. follow and inspect run until then, and exit with 0.`,
		Version:       thisBuild().String(),
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: suggestDistance,
		DisableFlagsInUseLine:      true,
	}
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(root, args[0])
		}
		return nil
	}
	root.RunE = func(*cobra.Command, []string) error { return root.Help() }
	root.SetFlagErrorFunc(flagError)
	// Cobra's own template does not break the lines of the flags.
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "FlagUsages", fmt.Sprintf("FlagUsagesWrapped %d", max(helpWidth, a.stdout.Layout().Width))))
	root.SetHelpCommand(a.helpCommand(root))
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print the result as JSON")
	root.PersistentFlags().StringVar(&a.keyFile, "key-file", "", "`FILE` with the encryption keys, one per line (default: DRIFTDB_KEY_FILE, or the keys in DRIFTDB_KEY)")
	root.AddCommand(
		a.demoCommand(), a.backupCommand(), a.syncCommand(), a.snapshotCommand(), a.importCommand(), a.restoreCommand(), a.statusCommand(),
		a.logCommand(), a.historyCommand(), a.diffCommand(), a.undoCommand(), a.queryCommand(), a.shellCommand(),
		a.followCommand(), a.promoteCommand(),
		a.inspectCommand(), a.verifyCommand(), a.doctorCommand(), a.gcCommand(), a.forkCommand(), a.deleteCommand(), a.rekeyCommand(), a.repairCommand(), a.resolveCommand(),
		a.detachCommand(), a.migrateJSCommand(), a.keygenCommand(), a.versionCommand())
	for _, c := range root.Commands() {
		if err := a.completable(c); err != nil {
			panic(err) // a flag that is not defined: a bug
		}
	}
	return root
}

// command completes a command after all its flags are defined.
func (a *app) command(c *cobra.Command, run func(ctx context.Context, args []string) error, required ...string) *cobra.Command {
	c.DisableFlagsInUseLine = true
	if c.Args == nil {
		c.Args = cobra.NoArgs
	}
	for _, name := range required {
		if name == "store" && os.Getenv(storeVariable) != "" {
			continue
		}
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is not defined: a bug
		}
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		a.started = true
		return run(c.Context(), args)
	}
	return c
}
