package main

import (
	"context"
	"errors"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

type promoteOptions struct {
	place
	path string
}

func (a *app) promoteCommand() *cobra.Command {
	o := new(promoteOptions)
	c := &cobra.Command{
		Use:   "promote --db FILE --store URL --name NAME",
		Short: "Make a follower's file the one that the database is written to",
		Long: `Make a follower's file the one that the database is written to, for example when
the machine of the writer is lost. FILE is brought up to the last change that
the store has, and takes the database over at once: the old writer, if it is
still alive, is refused from then on, and stores what it has not sent as a
branch, which driftdb status lists.

Afterwards open FILE under NAME like any other database. driftdb follow must not
have it open meanwhile; a program promotes its own with Follower.Promote.

If it fails, FILE still is a follower's.

With --json the result is {"database", "file", "node", "sequence"}: the node
under which FILE is written to from now on, and its last change.`,
	}
	o.flags(c)
	c.Flags().StringVar(&o.path, "db", "", "`FILE` of the follower")
	return a.command(c, func(ctx context.Context, _ []string) error { return a.runPromote(ctx, o) }, "db", "store", "name")
}

// promoted is the result of a promotion.
type promoted struct {
	Database string `json:"database"`
	File     string `json:"file"`
	Node     string `json:"node"`
	Sequence int64  `json:"sequence"`
}

func (a *app) runPromote(ctx context.Context, o *promoteOptions) error {
	cfg, err := a.config(ctx, o.place)
	if err != nil {
		return err
	}
	if err := mustExist(o.path); err != nil {
		return err
	}
	b, err := driftdb.OpenBackup(ctx, cfg)
	if err != nil {
		return err
	}
	f, err := b.Follow(ctx, o.path, driftdb.FollowConfig{PollInterval: time.Hour})
	if err != nil {
		return err
	}
	db, err := f.Promote(ctx, driftdb.Config{})
	if err != nil {
		return err
	}
	result := promoted{o.name, o.path, db.NodeID(), db.Sequence()}
	if err := db.Shutdown(ctx); err != nil && !errors.Is(err, driftdb.ErrUnsent) {
		return err
	}
	return a.report(result, "%s is what %s is written to now, from change %d on, as node %s; open it under this name\n",
		o.path, o.name, result.Sequence, result.Node)
}
