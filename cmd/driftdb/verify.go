package main

import (
	"context"
	"errors"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	var p place
	c := &cobra.Command{
		Use:   "verify --store URL --name NAME",
		Short: "Prove that a database can be restored",
		Long: `Prove that a database can be restored, by restoring it to a temporary file,
which only this user can read, and which is deleted. Tables whose digests the
writer has stored hold exactly what the writer had in them, and SQLite's check
finds nothing wrong that was not wrong with the database itself, which is told
and is no damage. The exit code is 4 if anything is damaged.

Nothing in the store is changed. This machine remembers when the proof was, for
driftdb status to show, in the folder driftdb of the user's cache folder
($XDG_CACHE_HOME or ~/.cache; ~/Library/Caches on macOS; %LocalAppData% on
Windows). Other machines do not know of it. Damage takes it back.

It also remembers the last change that the backup had confirmed then, the epoch
and the hash of everything up to there. If the backup does not have that any
more, somebody has put an older state of it back: the exit code is 4.

With --json the result is {"database", "sequence", "time", "rows", "tables",
"bytes", "seconds", "verifiedAt"}, as for restore.`,
	}
	p.flags(c)
	return a.command(c, func(ctx context.Context, _ []string) error { return a.runVerify(ctx, p) }, "store", "name")
}

func (a *app) runVerify(ctx context.Context, p place) error {
	b, err := a.open(ctx, p)
	if err != nil {
		return err
	}
	// Before the proof: if another backup takes its place meanwhile, this is
	// not said to be proven.
	info, err := b.Info(ctx)
	if err != nil {
		return err
	}
	v := verifiedOf(p.url, info)
	v.recall()
	r, err := a.watchRestore(driftdb.RestoreOptions{Seen: v.Seen}, func(o driftdb.RestoreOptions) (driftdb.RestoreResult, error) {
		return b.Verify(ctx, o)
	})
	verifiedAt := time.Now()
	switch {
	case errors.Is(err, driftdb.ErrRolledBack):
		return v.rolledBack(err)
	case errors.Is(err, driftdb.ErrCorrupt):
		return errors.Join(err, v.damaged())
	case err != nil:
		return err
	}
	v.Sequence, v.VerifiedAt, v.Seen, v.SeenAt = r.Sequence, verifiedAt, r.Confirmed, verifiedAt
	if err := v.remember(); err != nil {
		a.stderr.Printf("warning: driftdb status will not know of this proof: %v\n", err)
	}
	result := restoredOf(p.name, r)
	result.VerifiedAt = instant(v.VerifiedAt)
	return a.report(result, "%s is sound up to sequence %d of %s: %s, %s, %s compared with the writer's digests, proven in %.1f s\n",
		p.name, r.Sequence, stamp(r.Time), plural(r.Rows, "row", "rows"), size(r.Bytes),
		plural(int64(r.Tables), "table", "tables"), r.Duration.Seconds())
}
