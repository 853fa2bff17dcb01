package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	var p place
	var every durationFlag
	c := &cobra.Command{
		Use:   "verify --store URL --name NAME [--every D]",
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

--every D goes on until it is interrupted, and verifies each time that D, such
as 24h, has passed since this machine last verified the backup, or at once if it
never has. It comes up to a tenth of D sooner, so that many machines do not read
at the same moment, and D/8 after a failure, which it prints. The exit code is
that of the last verification: 0 if it succeeded. Each one reads the newest
snapshot and the log since: that is what it costs where data out is charged.

With --json the result is {"database", "sequence", "time", "rows", "tables",
"bytes", "seconds", "verifiedAt"}, as for restore; with --every, one a line.`,
	}
	p.flags(c)
	c.Flags().Var(&every, "every", "verify again and again, each time that `D` has passed")
	return a.command(c, func(ctx context.Context, _ []string) error {
		if c.Flags().Changed("every") {
			return a.runVerifyEvery(ctx, p, every.Duration)
		}
		return a.runVerify(ctx, p)
	}, "store", "name")
}

func (a *app) runVerify(ctx context.Context, p place) error {
	b, v, err := a.openVerified(ctx, p)
	if err != nil {
		return err
	}
	r, err := a.watchRestore(driftdb.RestoreOptions{Seen: v.Seen}, func(o driftdb.RestoreOptions) (driftdb.RestoreResult, error) {
		return b.Verify(ctx, o)
	})
	return a.reportVerified(p, &v, driftdb.VerifyResult{RestoreResult: r, VerifiedAt: time.Now()}, err)
}

// openVerified opens a backup, and returns what this machine knows of it. That is asked before
// the verification: if another backup takes this one's place meanwhile, the other one must not
// count as verified.
func (a *app) openVerified(ctx context.Context, p place) (*driftdb.Backup, verified, error) {
	b, err := a.open(ctx, p)
	if err != nil {
		return nil, verified{}, err
	}
	info, err := b.Info(ctx)
	if err != nil {
		return nil, verified{}, err
	}
	v := verifiedOf(p.url, info)
	v.recall()
	return b, v, nil
}

// reportVerified remembers and prints the result of a verification, or returns its error.
func (a *app) reportVerified(p place, v *verified, r driftdb.VerifyResult, err error) error {
	switch {
	case errors.Is(err, driftdb.ErrRolledBack):
		return v.rolledBack(err)
	case errors.Is(err, driftdb.ErrCorrupt):
		return errors.Join(err, v.damaged())
	case err != nil:
		return err
	}
	v.Sequence, v.VerifiedAt, v.Seen, v.SeenAt = r.Sequence, r.VerifiedAt, r.Confirmed, r.VerifiedAt
	if err := v.remember(); err != nil {
		a.stderr.Printf("warning: driftdb status will not show this verification: %v\n", err)
	}
	result := restoredOf(p.name, r.RestoreResult)
	result.VerifiedAt = instant(v.VerifiedAt)
	return a.report(result, "verified %s up to change %d of %s: %s, %s, %s compared with the writer's digests, in %.1f s\n",
		p.name, r.Sequence, stamp(r.Time), plural(r.Rows, "row", "rows"), size(r.Bytes),
		plural(int64(r.Tables), "table", "tables"), r.Duration.Seconds())
}

// leastEvery is the shortest time between two verifications.
const leastEvery = time.Minute

// runVerifyEvery verifies a backup until ctx ends.
func (a *app) runVerifyEvery(ctx context.Context, p place, every time.Duration) error {
	if every < leastEvery {
		return usagef("--every %s is too short; use at least 1m, such as 24h", every)
	}
	b, v, err := a.openVerified(ctx, p)
	if err != nil {
		return err
	}
	if !v.VerifiedAt.IsZero() {
		a.stderr.Printf("note: this machine last verified %s at %s\n", p.name, stamp(v.VerifiedAt))
	}
	var unprinted error
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err = b.VerifyEvery(ctx, driftdb.VerifySchedule{
		Every: every, Last: v.VerifiedAt, Options: driftdb.RestoreOptions{Seen: v.Seen},
		Done: func(r driftdb.VerifyResult, failure error) {
			err := a.reportVerified(p, &v, r, failure)
			switch {
			case err == nil:
				return
			case failure == nil: // nobody reads the results any more
				unprinted = err
				stop()
				return
			}
			for _, text := range terminal.Lines(err) {
				a.stderr.Printf("%s driftdb: %s\n", stamp(time.Now()), strings.TrimPrefix(text, "driftdb: "))
			}
		},
	})
	if err != nil {
		err = fmt.Errorf("interrupted, and the last verification had failed: %w", err)
	}
	return errors.Join(unprinted, err)
}
