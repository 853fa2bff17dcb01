package main

import (
	"context"
	"io"

	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

// app is one run of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr *terminal.Screen

	json    bool
	keyFile string

	// started is set when a command has got past its flags and arguments:
	// errors before that are about how it was called.
	started bool
}

// run executes the command that args name and returns the exit code. Results
// go to stdout, everything else to stderr.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: terminal.New(stdout), stderr: terminal.New(stderr)}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout) // help, which is all ours
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

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "driftdb",
		Short: "Import, restore and look after SQLite databases that live in a bucket",
		Long: `driftdb imports, restores and looks after SQLite databases that live in a bucket.

A store is a URL:

  file:///path/to/folder                           a folder, which must exist
  s3://bucket?region=REGION                        Amazon S3
  s3://bucket/prefix?endpoint=URL&path_style=true  a service with its protocol

Without a prefix it is driftdb, as in the Go library; s3://bucket?prefix=/ is the
root of the bucket. An s3 URL may also have sse, kms_key_id and storage_class,
which go with all that is stored, and checksums=false. Credentials for S3 come from
where every AWS tool takes them: the environment, a profile, or the machine's role.

If the bucket is encrypted, its keys are taken from DRIFTDB_KEY (64 hex digits
each, separated by commas) or from --key-file (one key a line, # starts a
comment). The first key encrypts, all of them decrypt. A key file that other users
may read or write is warned of.

Results go to standard output, everything else to standard error. What a store or a
database holds is escaped where it would command a terminal, as \n or \x1b.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no backup found, 4 damaged data,
5 wrong or missing key, 6 conflicts that need a choice.`,
		Version:           thisBuild().String(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print the result as JSON")
	root.PersistentFlags().StringVar(&a.keyFile, "key-file", "", "`FILE` with the encryption keys, one a line (default: DRIFTDB_KEY)")
	root.AddCommand(a.demoCommand(), a.importCommand(), a.restoreCommand(), a.statusCommand(), a.logCommand(), a.verifyCommand(),
		a.gcCommand(), a.rekeyCommand(), a.repairCommand(), a.resolveCommand(), a.detachCommand(), a.versionCommand())
	return root
}

// command completes a command whose flags have all been defined.
func (a *app) command(c *cobra.Command, run func(ctx context.Context, args []string) error, required ...string) *cobra.Command {
	c.DisableFlagsInUseLine = true
	if c.Args == nil {
		c.Args = cobra.NoArgs
	}
	for _, name := range required {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is not defined: this program is wrong
		}
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		a.started = true
		return run(c.Context(), args)
	}
	return c
}
