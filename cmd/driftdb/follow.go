package main

import (
	"context"
	"errors"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

type followOptions struct {
	place
	out, exec string
	poll      time.Duration
}

func (a *app) followCommand() *cobra.Command {
	o := new(followOptions)
	c := &cobra.Command{
		Use:   "follow --store URL --name NAME --out FILE [--poll D] [--exec CMD]",
		Short: "Keep a copy of a database that is a few seconds behind its writer",
		Long: `Keep a copy of a database at FILE, and bring it up to date as its writer stores
more, until it is interrupted. Other programs can read FILE meanwhile: the
sqlite3 shell, or DriftDB with Config.ReadOnly. Nobody can write to it before
driftdb promote.

If FILE is missing, it is restored first. If it was a follower of this backup
before, it goes on where it was. Any other file is left as it is.

It asks the store every --poll, and up to once a minute while nothing changes.
It applies what the writer's manifest confirms, by default once a minute: see
Config.ManifestInterval. If the store cannot be reached, it goes on trying, and
says so.

--exec runs CMD with the system's shell when new changes can be read, and once
at the beginning. CMD finds the number of the last change in DRIFTDB_SEQUENCE
and the file in DRIFTDB_FILE. One CMD runs at a time; what comes meanwhile is
left to one more run. If CMD fails, a warning says so, and the next changes run
it again.

On a terminal it prints a line for each step. With --json each step is a line
{"sequence", "changes", "lagSeconds"}: the last change that can be read, how
many changes were new, and how long ago the store had no more. Otherwise it
prints nothing. The exit code is 0 if it was interrupted.`,
	}
	o.flags(c)
	c.Flags().StringVar(&o.out, "out", "", "`FILE` of the copy")
	c.Flags().DurationVar(&o.poll, "poll", 5*time.Second, "ask the store every `D` while there is news")
	c.Flags().StringVar(&o.exec, "exec", "", "the shell command `CMD` to run when there are new changes")
	return a.command(c, func(ctx context.Context, _ []string) error { return a.runFollow(ctx, o) }, "store", "name", "out")
}

func (a *app) runFollow(ctx context.Context, o *followOptions) (err error) {
	if o.poll <= 0 {
		return usagef("--poll %s is not a positive duration; the default is 5s", o.poll)
	}
	b, err := a.open(ctx, o.place)
	if err != nil {
		return err
	}
	bar := a.stderr.Bar("restoring", -1)
	f, err := b.Follow(ctx, o.out, driftdb.FollowConfig{PollInterval: o.poll, OnProgress: onBar(bar)})
	bar.Stop()
	if err != nil {
		return err
	}
	w := &followed{app: a, followOptions: o, f: f}
	if o.exec != "" {
		w.hook = a.newHook(o.exec)
	}
	err = w.watch(ctx)
	if w.hook != nil {
		w.hook.end()
	}
	return errors.Join(err, f.Close())
}

// followed reports the steps of a follower.
type followed struct {
	*app
	*followOptions
	f     *driftdb.Follower
	hook  *hook // nil: none
	shown int64 // the sequence of the last step
}

// followedStep is a step with --json.
type followedStep struct {
	Sequence   int64   `json:"sequence"`
	Changes    int64   `json:"changes"`
	LagSeconds float64 `json:"lagSeconds"`
}

// lookEvery is how often watch looks whether the follower has made a step. That asks
// nobody: the follower has the number in memory.
const lookEvery = 50 * time.Millisecond

// watch reports steps until ctx ends, or the follower cannot go on.
func (w *followed) watch(ctx context.Context) error {
	w.shown = w.f.Sequence()
	if err := w.report(w.shown, 0); err != nil {
		return err
	}
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
		if err := w.f.Err(); err != nil {
			return err
		}
		if at := w.f.Sequence(); at != w.shown {
			changes := at - w.shown
			w.shown = at
			if err := w.report(at, changes); err != nil {
				return err
			}
		}
	}
}

// report tells of a step.
func (w *followed) report(at, changes int64) error {
	if w.hook != nil {
		w.hook.run(at, w.out)
	}
	lag := w.f.Lag()
	switch {
	case w.json:
		return w.stdout.JSON(followedStep{at, changes, seconds(lag)})
	case !w.stdout.IsTerminal():
		return nil
	case changes == 0:
		return w.stdout.Printf("%s %s follows %s, at change %d\n", stamp(time.Now()), w.out, w.name, at)
	}
	return w.stdout.Printf("%s change %d, %s new, %.1f s behind the store\n", stamp(time.Now()), at, count(changes), lag.Seconds())
}
