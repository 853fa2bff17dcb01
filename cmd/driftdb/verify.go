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
		Short: "Verify that a database can be restored",
		Long: `Verify that a database can be restored, by restoring it to a temporary file that
only this user can read, and that is then deleted. verify compares each table
with the digest that the writer stored, and runs SQLite's integrity check.
Faults that the database itself had are reported, but are not damage. The exit
code is 4 if anything is damaged.

Nothing in the store is changed. For driftdb status, this machine remembers the
time in the folder driftdb of the user's cache folder ($XDG_CACHE_HOME or
~/.cache; ~/Library/Caches on macOS; %LocalAppData% on Windows). Other machines
do not know of it. If the backup is damaged, the time is forgotten.

It also remembers the last change that the backup had confirmed, its epoch, and
the hash of everything up to there. If the backup no longer has that change, an
older state of it was put back: the exit code is 4.

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
	// Read before the verification: if another backup takes this one's place meanwhile,
	// the other one must not count as verified.
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
		a.stderr.Printf("warning: driftdb status will not show this verification: %v\n", err)
	}
	result := restoredOf(p.name, r)
	result.VerifiedAt = instant(v.VerifiedAt)
	return a.report(result, "verified %s up to change %d of %s: %s, %s, %s compared with the writer's digests, in %.1f s\n",
		p.name, r.Sequence, stamp(r.Time), plural(r.Rows, "row", "rows"), size(r.Bytes),
		plural(int64(r.Tables), "table", "tables"), r.Duration.Seconds())
}
