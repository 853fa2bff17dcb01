package main

import (
	"context"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	var p place
	c := &cobra.Command{
		Use:   "verify --store URL --name NAME",
		Short: "Prove that a database can be restored",
		Long: `Prove that a database can be restored, by restoring it to a temporary file,
which is deleted. The exit code is 4 if anything is damaged.

With --json the result is {"database", "sequence", "time", "rows", "bytes",
"seconds"}, as for restore.`,
	}
	p.flags(c)
	return a.command(c, func(ctx context.Context, _ []string) error { return a.runVerify(ctx, p) }, "store", "name")
}

func (a *app) runVerify(ctx context.Context, p place) error {
	cfg, err := a.open(ctx, p)
	if err != nil {
		return err
	}
	r, err := a.watchRestore(cfg, func(cfg driftdb.RestoreConfig) (driftdb.RestoreResult, error) {
		v, err := driftdb.Verify(ctx, cfg)
		return v.RestoreResult, err
	})
	if err != nil {
		return err
	}
	return a.report(restored{p.name, "", r.Sequence, instant(r.Time), r.Rows, r.Bytes, seconds(r.Duration)},
		"%s is sound up to sequence %d of %s: %s, %s, proven in %.1f s\n",
		p.name, r.Sequence, stamp(r.Time), plural(r.Rows, "row", "rows"), size(r.Bytes), r.Duration.Seconds())
}
