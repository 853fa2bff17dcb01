package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

// defaultRetention is the library's own.
const defaultRetention = 30 * 24 * time.Hour

type gcOptions struct {
	place
	path      string
	dryRun    bool
	retention time.Duration
}

func (a *app) gcCommand() *cobra.Command {
	o := new(gcOptions)
	c := &cobra.Command{
		Use:   "gc --store URL --name NAME (--dry-run | --db FILE) [--retention 720h]",
		Short: "Delete from the store what nothing needs any more",
		Long: `Delete from the store what nothing needs any more: changes and snapshots that
only points in time before the retention window need, and snapshots that were
stored but never came into use.

With --dry-run it lists what a collection would delete, and touches nothing.

Only the writer of a backup deletes from it, so without --dry-run --db has to
name the database's own file, which nobody else may have open; a restored copy
will not do. What it has not sent yet is sent first. If another node has taken
the database over, gc leaves it alone. A program that syncs does all this by
itself about once a day: gc is for databases that are seldom open, and for a
bucket that has to shrink now.

What is too old is deleted in two steps, with a day of grace between them: one
collection takes it out of the manifest, the first one that comes a day later
deletes it. Until then a restore that has begun before can still read it. So gc
deletes nothing when the last collection is less than a day ago, and of what
--dry-run lists only what an earlier collection has taken out.

How old something is, the store's clock says. In case that is wrong, a leap of
it moves the window forward by a quarter of its length, or a day if that is
more, and no further until three more collections have found it confirmed.

Give the --retention with which the program opens the database (720h unless it
says otherwise). A shorter one gives up points in time that it would keep.

With --json the result is {"database", "objects", "bytes", "waiting",
"waitingBytes"}: what was deleted, and what --dry-run lists after that. With
--dry-run it is {"database", "objects", "bytes", "garbage"}, the last a list of
{"key", "size", "why"}.`,
	}
	o.flags(c)
	c.Flags().StringVar(&o.path, "db", "", "`FILE` of the database, whose backup is to shrink")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "list what would be deleted, and delete nothing")
	c.Flags().DurationVar(&o.retention, "retention", defaultRetention, "how far back every point in time stays restorable, a `DURATION`")
	return a.command(c, func(ctx context.Context, _ []string) error { return a.runGC(ctx, o) }, "store", "name")
}

func (o *gcOptions) check() error {
	switch {
	case o.dryRun && o.path != "":
		return usagef("--dry-run and --db exclude each other; a dry run needs no file")
	case !o.dryRun && o.path == "":
		return usagef("only the writer of a backup deletes from it: name the database's own file with --db, or see with --dry-run what would be deleted")
	case o.retention <= 0:
		return usagef("--retention %s is no window; give how far back points in time have to stay, such as %s", o.retention, defaultRetention)
	}
	return nil
}

func (a *app) runGC(ctx context.Context, o *gcOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	cfg, err := a.config(ctx, o.place)
	if err != nil {
		return err
	}
	b, err := driftdb.OpenBackup(ctx, cfg)
	if err != nil {
		return err
	}
	// Also before a collection: opening a database begins a backup where there
	// is none, and a mistyped store must not get one.
	garbage, err := b.Garbage(ctx, o.retention)
	if err != nil {
		return err
	}
	if o.dryRun {
		return a.reportGarbage(o.name, garbage)
	}
	c := collected{Database: o.name}
	if c.Objects, c.Bytes, err = a.collect(ctx, o, cfg); err != nil {
		return err
	}
	if garbage, err = b.Garbage(ctx, o.retention); err != nil {
		return err
	}
	c.Waiting, c.WaitingBytes = len(garbage), total(garbage)
	return a.report(c, "deleted %s of %s, %s; %s, %s, wait for a later collection\n",
		plural(int64(c.Objects), "object", "objects"), o.name, size(c.Bytes),
		plural(int64(c.Waiting), "object", "objects"), size(c.WaitingBytes))
}

// collect opens the database and lets it delete what its backup need not have.
func (a *app) collect(ctx context.Context, o *gcOptions, cfg driftdb.BackupConfig) (objects int, bytes int64, err error) {
	if _, err := os.Stat(o.path); err != nil { // Open would make a new one
		return 0, 0, hinted{err, "--db names the file with which the database is written to"}
	}
	defer func() {
		if errors.Is(err, driftdb.ErrLocked) {
			err = hinted{err, "close the program that has the database, or leave this to it: it collects by itself"}
		}
	}()
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: o.name, Path: o.path, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys,
		Retention: o.retention, RefuseTakeover: true, OnEvent: a.warn,
		ManualSync: true, // or a round in the background collects, uncounted
	})
	if err != nil {
		return 0, 0, err
	}
	objects, bytes, err = db.CollectGarbage(ctx)
	return objects, bytes, errors.Join(err, db.Close())
}

// collected is the result of a collection.
type collected struct {
	Database     string `json:"database"`
	Objects      int    `json:"objects"`
	Bytes        int64  `json:"bytes"`
	Waiting      int    `json:"waiting"`
	WaitingBytes int64  `json:"waitingBytes"`
}

// wouldCollect is the result of a dry run.
type wouldCollect struct {
	Database string        `json:"database"`
	Objects  int           `json:"objects"`
	Bytes    int64         `json:"bytes"`
	Garbage  []garbageLine `json:"garbage"`
}

type garbageLine struct {
	Key  string `json:"key"`
	Size int64  `json:"size"`
	Why  string `json:"why"`
}

func (a *app) reportGarbage(name string, garbage []driftdb.GarbageObject) error {
	r := wouldCollect{Database: name, Objects: len(garbage), Bytes: total(garbage), Garbage: []garbageLine{}}
	for _, g := range garbage {
		r.Garbage = append(r.Garbage, garbageLine(g))
	}
	if a.json {
		return a.stdout.JSON(r)
	}
	var table [][]string
	if len(garbage) > 0 {
		table = append(table, []string{"SIZE", "WHY", "KEY"})
	}
	for _, g := range garbage {
		table = append(table, []string{size(g.Size), g.Why, word(g.Key)})
	}
	table = append(table, []string{fmt.Sprintf("%s of %s, %s, would be deleted", plural(int64(r.Objects), "object", "objects"), name, size(r.Bytes))})
	lines, err := terminal.Align(table)
	if err != nil {
		return err
	}
	out, flush := a.stdout.Buffered()
	for _, line := range lines {
		out.Printf("%s\n", line) // flush returns the error
	}
	return flush()
}

func total(garbage []driftdb.GarbageObject) (bytes int64) {
	for _, g := range garbage {
		bytes += g.Size
	}
	return bytes
}
