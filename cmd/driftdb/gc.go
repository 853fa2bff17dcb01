package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/spf13/cobra"
)

// defaultRetention is the library's default.
const defaultRetention = 30 * 24 * time.Hour

type gcOptions struct {
	place
	path      string
	dryRun    bool
	retention durationFlag
}

func (a *app) gcCommand() *cobra.Command {
	o := &gcOptions{retention: durationFlag{defaultRetention}}
	c := &cobra.Command{
		Use:   "gc --store URL --name NAME (--dry-run | --db FILE) [--retention 30d]",
		Short: "Delete objects that the backup no longer needs",
		Long: `Delete objects that the backup no longer needs: changes and snapshots that serve
only points in time before the retention window, and snapshots that were stored
but never used. What a fork of the database needs is kept.

With --dry-run it lists what a collection would delete, and changes nothing.

Only the writer of a backup deletes from it. So without --dry-run, --db must
name the database's own file, not a restored copy, and no other program may have
it open. Pending changes are uploaded first. If another node has taken the
database over, gc changes nothing. A program that syncs collects garbage about
once a day: gc is for databases that are seldom open, and for a bucket that has
to shrink now.

Deletion takes two steps, with a day of grace between them: one collection
removes an object from the manifest, and a collection at least a day later
deletes it. In the meantime, restores that are already running can still read
it. So gc deletes nothing if the last collection was less than a day ago, and of
the objects that --dry-run lists it deletes only those that an earlier
collection has removed from the manifest.

Age is measured by the store's clock. In case that clock is wrong, a jump moves
the window forward by at most a quarter of its length, or a day if that is more,
and no further until three more collections have confirmed it.

Set --retention to the program's own Retention (30d is the default of both). A
shorter one gives up points in time that the program would keep.

With --json the result is {"database", "objects", "bytes", "waiting",
"waitingBytes"}: what was deleted, and what --dry-run would list now. With
--dry-run it is {"database", "objects", "bytes", "garbage"}; garbage is a list
of {"key", "size", "why"}.`,
	}
	o.flags(c)
	c.Flags().StringVar(&o.path, "db", "", "`FILE` of the database that the backup belongs to")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "list what would be deleted, and delete nothing")
	c.Flags().Var(&o.retention, "retention", "keep every point in time of this last `DURATION` restorable, such as 30d, 12h or 2w")
	return a.command(c, func(ctx context.Context, _ []string) error { return a.runGC(ctx, o) }, "store", "name")
}

func (o *gcOptions) check() error {
	switch {
	case o.dryRun && o.path != "":
		return usagef("--dry-run and --db cannot be combined; a dry run needs no file")
	case !o.dryRun && o.path == "":
		return usagef("only the writer of a backup deletes from it: name the database's own file with --db, or use --dry-run to list what would be deleted")
	case o.retention.Duration <= 0:
		return usagef("--retention %s is not a positive duration; use one such as 30d", &o.retention)
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
	// This comes before a collection too: opening a database starts a backup where there
	// is none, and a mistyped store must not get one.
	garbage, err := b.Garbage(ctx, o.retention.Duration)
	if err != nil {
		return err
	}
	if err := a.tellHeld(ctx, b); err != nil {
		return err
	}
	if o.dryRun {
		return a.reportGarbage(o.name, garbage)
	}
	c := collected{Database: o.name}
	if c.Objects, c.Bytes, err = a.collect(ctx, o, cfg); err != nil {
		return err
	}
	if garbage, err = b.Garbage(ctx, o.retention.Duration); err != nil {
		return err
	}
	c.Waiting, c.WaitingBytes = len(garbage), total(garbage)
	return a.report(c, "deleted %s of %s (%s); %s (%s) left for a later collection\n",
		plural(int64(c.Objects), "object", "objects"), o.name, size(c.Bytes),
		plural(int64(c.Waiting), "object", "objects"), size(c.WaitingBytes))
}

// tellHeld says what is kept for forks.
func (a *app) tellHeld(ctx context.Context, b *driftdb.Backup) error {
	info, err := b.Info(ctx)
	if err == nil && info.Held.Objects > 0 {
		a.stderr.Printf("note: %s (%s) that only forks need are kept: %s\n",
			plural(int64(info.Held.Objects), "object", "objects"), size(info.Held.Bytes), strings.Join(info.Held.Forks, ", "))
	}
	return err
}

// collect opens the database and lets it collect its backup's garbage.
func (a *app) collect(ctx context.Context, o *gcOptions, cfg driftdb.BackupConfig) (objects int, bytes int64, err error) {
	if err := mustExist(o.path); err != nil { // Open would create one
		return 0, 0, err
	}
	defer func() {
		if errors.Is(err, driftdb.ErrLocked) {
			err = hinted{err, "close the program that has the database open, or leave this to it: it collects garbage by itself"}
		}
	}()
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: o.name, Path: o.path, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys,
		Retention: o.retention.Duration, RefuseTakeover: true, OnEvent: a.warn,
		ManualSync: true, // a collection in the background would not be counted
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
	table := a.stdout.Table(a.stdout.Layout(),
		terminal.Column{Name: "SIZE", Right: true}, terminal.Column{Name: "WHY", Shrink: true}, terminal.Column{Name: "KEY", Shrink: true})
	for _, g := range garbage {
		table.Add(terminal.Cell{Text: size(g.Size), Raw: strconv.FormatInt(g.Size, 10)}, terminal.Cell{Text: g.Why}, terminal.Cell{Text: word(g.Key)})
	}
	if len(garbage) > 0 {
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if table.Cut {
		a.stderr.Printf("note: some keys are cut to fit the terminal; with --json, or in a pipe, they are whole\n")
	}
	return a.stderr.Printf("would delete %s of %s (%s)\n", plural(int64(r.Objects), "object", "objects"), name, size(r.Bytes))
}

func total(garbage []driftdb.GarbageObject) (bytes int64) {
	for _, g := range garbage {
		bytes += g.Size
	}
	return bytes
}
