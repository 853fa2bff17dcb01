package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/doctor"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/spf13/cobra"
)

type doctorOptions struct {
	place
	file                   string
	readOnly, full, strict bool
	retention              durationFlag
}

func (a *app) doctorCommand() *cobra.Command {
	o := &doctorOptions{retention: durationFlag{defaultRetention}}
	c := &cobra.Command{
		Use:   "doctor [FILE] [--store URL] [--name NAME] [--read-only] [--full] [--strict] [--retention D]",
		Short: "Examine a database file, its store and its backup",
		Long: `Examine a database file, its place on the disk, its store and its backup, and
say of each finding what to do about it. Give FILE, --store or both. --name is
the database's name in the store; the default is the one that FILE has.

A program may have the database open meanwhile. Neither the file nor the backup
is changed. To try the disk, a file is made beside FILE and removed. To try the
rights on the bucket one by one, objects are stored under keys that begin with
databases/NAME/nodes/doctor/probe- and deleted; where DELETE is denied, they
stay. With --read-only none of this is done, and those checks are not tried.

--full reads every row of FILE: SQLite's integrity_check, foreign keys, and
whether the tables hold what the log says. Otherwise the pages are read once.
What the backup holds is not read, only listed: driftdb verify reads it.
--retention is what the program has as Config.Retention, 30d by default.

Each check has a line: ok, warning, failed, or not tried and why. The exit code
is 1 if a check failed, and with --strict if there is a warning, too.

With --json the result is {"status", "checks"}; status is ok, warning or failed,
and checks is a list of {"about", "check", "status", "found", "remedy"}.`,
		Args: cobra.MaximumNArgs(1),
	}
	o.flags(c)
	c.Flags().BoolVar(&o.readOnly, "read-only", false, "write nothing, not even to try whether that works")
	c.Flags().BoolVar(&o.full, "full", false, "read every row of FILE")
	c.Flags().BoolVar(&o.strict, "strict", false, "exit with 1 if there is a warning")
	c.Flags().Var(&o.retention, "retention", "how far back the program keeps every point, `D`")
	return a.command(c, func(ctx context.Context, args []string) error {
		o.file = strings.Join(args, "")
		return a.runDoctor(ctx, o)
	})
}

// examined is a finding with --json.
type examined struct {
	About  string        `json:"about"`
	Check  string        `json:"check"`
	Status doctor.Status `json:"status"`
	Found  string        `json:"found"`
	Remedy string        `json:"remedy,omitempty"`
}

func (a *app) runDoctor(ctx context.Context, o *doctorOptions) error {
	cfg, err := a.doctorConfig(ctx, o)
	if err != nil {
		return err
	}
	var all []doctor.Finding
	var printed error
	err = doctor.Examine(ctx, cfg, func(f doctor.Finding) {
		all = append(all, f)
		if !a.json && printed == nil {
			printed = a.printFinding(f)
		}
	})
	if err = errors.Join(err, printed); err != nil {
		return err
	}
	return a.diagnose(all, o.strict)
}

// doctorConfig opens the store. A store that cannot be opened is a finding, if its URL is right.
func (a *app) doctorConfig(ctx context.Context, o *doctorOptions) (cfg doctor.Config, err error) {
	switch {
	case o.file == "" && o.url == "":
		return cfg, usagef("there is nothing to examine: give a FILE, --store URL, or both")
	case o.name != "" && o.url == "":
		return cfg, usagef("--name needs --store: it is the database's name there")
	}
	cfg = doctor.Config{
		Path: o.file, Name: o.name, ReadOnly: o.readOnly, Full: o.full, Retention: o.retention.Duration, Limits: doctor.Defaults(),
	}
	if o.url == "" {
		return cfg, nil
	}
	cfg.Store, err = openStore(ctx, o.url)
	if errors.Is(err, objstore.ErrNoBucket) {
		cfg.Store, cfg.Unopened, err = nil, err, nil
	}
	if err != nil {
		return cfg, err
	}
	cfg.VerifiedAt = func(name, databaseID string) time.Time {
		v := verifiedOf(o.url, driftdb.BackupInfo{Name: name, DatabaseID: databaseID})
		v.recall()
		return v.VerifiedAt
	}
	cfg.Keys, err = a.keys()
	return cfg, err
}

// findingIndent is where the text of a finding begins.
const findingIndent = 11

// findingStyles are how findings stand out.
var findingStyles = map[doctor.Status]terminal.Style{doctor.Failed: terminal.Red, doctor.Warning: terminal.Yellow, doctor.NotTried: terminal.Dim}

func (a *app) printFinding(f doctor.Finding) error {
	err := a.stdout.Item(findingStyles[f.Status], string(f.Status), findingIndent, f.About+" "+f.Check+": "+f.Found)
	if err != nil || f.Remedy == "" {
		return err
	}
	return a.stdout.Item(terminal.Plain, "", findingIndent, "do: "+f.Remedy)
}

// diagnose sums up what was found. The error is for the exit code.
func (a *app) diagnose(all []doctor.Finding, strict bool) error {
	count := map[doctor.Status]int{}
	list := []examined{}
	for _, f := range all {
		count[f.Status]++
		list = append(list, examined(f))
	}
	err := a.report(struct {
		Status doctor.Status `json:"status"`
		Checks []examined    `json:"checks"`
	}{doctor.Worst(all), list}, "%d failed, %s, %d ok, %d not tried\n",
		count[doctor.Failed], plural(int64(count[doctor.Warning]), "warning", "warnings"), count[doctor.OK], count[doctor.NotTried])
	switch failed, warnings := count[doctor.Failed], count[doctor.Warning]; {
	case err != nil:
		return err
	case failed > 0:
		return fmt.Errorf("%s failed", plural(int64(failed), "check", "checks"))
	case strict && warnings > 0:
		return fmt.Errorf("there is something to look at (%s)", plural(int64(warnings), "warning", "warnings"))
	}
	return nil
}
