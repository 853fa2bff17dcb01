package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/jsbucket"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/spf13/cobra"
)

// The exit codes; scripts rely on them.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNoBackup = 3
	exitDamaged  = 4
	exitKey      = 5
	exitConflict = 6
)

// After a signal the exit code is exitSignal and the number of the signal.

// usageError reports that the program was called wrongly.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(err error) error { return usageError{err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// hinted is an error with a next step of its own.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// known lists the errors that have an exit code or a next step. The first match
// counts.
var known = []struct {
	err  error
	code int
	hint string
}{
	{driftdb.ErrKey, exitKey, "pass the keys in DRIFTDB_KEY or with --key-file"},
	{jsbucket.ErrKey, exitKey, "pass the key in DRIFTDB_KEY or with --key-file"},
	{jsbucket.ErrNone, exitNoBackup, ""},
	{jsbucket.ErrDamaged, exitDamaged, ""},
	{jsbucket.ErrUnclear, exitFailed, "--partial accepts that, and lists what is left out; a new db.snapshot() in the JavaScript program would make it complete"},
	{driftdb.ErrNoBackup, exitNoBackup, "driftdb status --store URL lists the databases in the store"},
	{driftdb.ErrVersion, exitFailed, "upgrade this program"},
	{driftdb.ErrRolledBack, exitDamaged, ""},
	{driftdb.ErrCorrupt, exitDamaged, ""},
	{driftdb.ErrLocked, exitFailed, "close the program that has the file open"},
	{driftdb.ErrConflict, exitConflict, "choose a side with --prefer ours or --prefer theirs, or per table with --table"},
	{driftdb.ErrFenced, exitFailed, "driftdb resolve merges the changes that this writer had not uploaded into the history; driftdb status lists them as a branch"},
	{driftdb.ErrDiverged, exitFailed, "if both are the same database, driftdb resolve merges them; driftdb restore writes the store's version to another file"},
	{objstore.ErrNoBucket, exitFailed, "check the URL of --store; create the bucket or folder first"},
	{syscall.EROFS, exitFailed, "use a place that can be written to: DriftDB has a lock beside the file of a database, and temporary files in the folder that TMPDIR names"},
	{fs.ErrPermission, exitFailed, "check the permissions on the file or bucket, and for S3 the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"},
}

// exitCode maps err to an exit code.
func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	for _, k := range known {
		if errors.Is(err, k.err) {
			return k.code
		}
	}
	return exitFailed
}

// sqliteBusy is SQLite's code for a lock that was not had in time.
const sqliteBusy = 5

func hintFor(err error) string {
	if h, ok := errors.AsType[hinted](err); ok {
		return h.hint
	}
	for _, k := range known {
		if errors.Is(err, k.err) {
			return k.hint
		}
	}
	if e, ok := errors.AsType[*driftdb.Error](err); ok && e.Code == sqliteBusy {
		return "another program has a transaction open in the file; run the command again when that has ended"
	}
	return ""
}

// fail tells the user what went wrong and what to do, and returns the exit code.
func (a *app) fail(ctx context.Context, cmd *cobra.Command, err error) int {
	hint, code := hintFor(err), exitCode(err)
	signalled, ended := wasInterrupted(ctx, err)
	said := map[string]bool{}
	for i, text := range terminal.Lines(err) {
		text = strings.TrimPrefix(text, "driftdb: ")
		if i == 0 && ended && !strings.HasPrefix(text, "interrupted") {
			text = "interrupted: " + text
		}
		if !said[text] { // several steps may fail for one reason
			a.stderr.Printf("driftdb: %s\n", text)
		}
		said[text] = true
	}
	if ended {
		code = signalled
		if hint == "" {
			hint = leaves[cmd.Name()]
		}
	}
	if code == exitUsage {
		for i, line := range strings.Split(cmd.UseLine(), "\n") { // one for each way to use it
			if i == 0 {
				line = "usage: " + line
			}
			a.stderr.Printf("%s\n", line)
		}
		if hint == "" && strings.Contains(err.Error(), `"store"`) {
			hint = "name the store with --store URL, or once for all commands in " + storeVariable
		}
		if hint == "" {
			hint = "see " + cmd.CommandPath() + " --help"
		}
	}
	if hint != "" {
		a.stderr.Printf("hint: %s\n", hint)
	}
	return code
}
