package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/jsbucket"
	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/wrap"
	"github.com/spf13/cobra"
)

type migrateOptions struct {
	from, name, node, out            string
	overwrite, snapshotOnly, partial bool
}

func (a *app) migrateJSCommand() *cobra.Command {
	o := new(migrateOptions)
	c := &cobra.Command{
		Use:   "migrate-js --from URL [--name NAME] [--node ID] --out FILE [--overwrite] [--snapshot-only] [--partial]",
		Short: "Rebuild a database from a backup of the JavaScript package",
		Long: `Rebuild a database from a backup that the JavaScript package
@mauryasumit/driftdb made: its newest snapshot, and the changes after it. It
only reads the backup.

FILE becomes an ordinary SQLite database without the package's own tables. Open
it with DriftDB under a name and a prefix that the backup does not use; the
default prefix of both is driftdb.

The package logs what its repositories do. Other SQL is in snapshots only, and
so are the definitions of tables. Where a change of the log depends on what is
not in it, or there is no snapshot, nothing is written. --partial accepts that:
it makes tables from their rows, without constraints, defaults and indexes,
leaves out changes that cannot be made, and lists all of it. --snapshot-only
takes the newest snapshot without the log, as the package's own restore does.

If the program set an encryption key, pass it in DRIFTDB_KEY or --key-file.

With --json the result is {"database", "node", "file", "snapshot", "base",
"sequence", "time", "batches", "rows", "tables", "bytes"}: base is the last
change in the snapshot, and tables a list of {"name", "rows"}. Left out where
they do not apply: snapshot, time, "replaced" (where the replaced file is now),
"otherNodes" (whose changes are not included), "damaged" (snapshots that were
not used), "notes" (what --partial accepted) and "foreignKeyViolations".`,
	}
	c.Flags().StringVar(&o.from, "from", "", "`URL` of the backup, such as s3://bucket (the default prefix is driftdb) or file:///folder")
	c.Flags().StringVar(&o.name, "name", "", "`NAME` of the database (dbName); may be left out if there is only one")
	c.Flags().StringVar(&o.node, "node", "", "`ID` of the node whose changes to use, if not the one that wrote last")
	c.Flags().StringVar(&o.out, "out", "", "`FILE` to write")
	c.Flags().BoolVar(&o.overwrite, "overwrite", false, "replace FILE if it exists, and keep it beside the new one")
	c.Flags().BoolVar(&o.snapshotOnly, "snapshot-only", false, "use the newest snapshot without the changes after it")
	c.Flags().BoolVar(&o.partial, "partial", false, "accept what the log does not describe, and list it")
	return a.command(c, func(ctx context.Context, _ []string) error { return a.runMigrateJS(ctx, o) }, "from", "out")
}

// migrated is the result of migrate-js.
type migrated struct {
	Database string         `json:"database"`
	Node     string         `json:"node"`
	File     string         `json:"file"`
	Snapshot string         `json:"snapshot,omitempty"`
	Base     int64          `json:"base"`
	Sequence int64          `json:"sequence"`
	Time     instant        `json:"time,omitzero"`
	Batches  int            `json:"batches"`
	Rows     int64          `json:"rows"`
	Tables   []migratedRows `json:"tables"`
	Bytes    int64          `json:"bytes"`
	Replaced string         `json:"replaced,omitempty"`

	OtherNodes           []string `json:"otherNodes,omitempty"`
	Damaged              []string `json:"damaged,omitempty"`
	Notes                []string `json:"notes,omitempty"`
	ForeignKeyViolations int64    `json:"foreignKeyViolations,omitzero"`
}

type migratedRows struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
}

func (a *app) runMigrateJS(ctx context.Context, o *migrateOptions) error {
	if o.partial && o.snapshotOnly {
		return usagef("--partial and --snapshot-only cannot be combined: without the log there is nothing to accept")
	}
	keys, err := a.keys()
	if err != nil {
		return err
	}
	if err := checkTarget(o.out, o.overwrite); err != nil {
		return err
	}
	store, err := openStore(ctx, o.from)
	if err != nil {
		return err
	}
	began := time.Now()
	bar := a.stderr.Bar("replaying", -1)
	r, err := jsbucket.Run(ctx, wrap.Retry(store, retry.Default()), jsbucket.Options{
		Name: o.name, Node: o.node, Keys: keys, Path: o.out, Overwrite: o.overwrite,
		SnapshotOnly: o.snapshotOnly, Partial: o.partial,
		Progress: func(done, total int64) { bar.Set("change "+count(done), done, total) },
	})
	bar.Stop()
	if errors.Is(err, jsbucket.ErrDamaged) && !o.snapshotOnly {
		err = hinted{err, "--snapshot-only gives the newest snapshot without the changes after it, as the package's own restore does"}
	}
	if err != nil {
		return err
	}
	a.noteMigrated(r)
	if r.Kept != "" {
		a.tellKept(o.out, r.Kept)
	}
	result := migrated{
		Database: r.Name, Node: r.Node, File: o.out, Snapshot: r.Snapshot, Base: r.Base, Sequence: r.Sequence, Time: instant(r.Time),
		Batches: r.Batches, Rows: r.Rows, Tables: []migratedRows{}, Bytes: r.Bytes, Replaced: r.Kept,
		OtherNodes: r.Others, Damaged: r.Damaged, Notes: r.Notes, ForeignKeyViolations: r.Violations,
	}
	for _, t := range r.Tables {
		result.Tables = append(result.Tables, migratedRows(t))
	}
	return a.report(result, "migrated %s to %s: change %d, of which %d from the log, %s in %s, %s, in %.1f s\n",
		r.Name, o.out, r.Sequence, r.Sequence-r.Base, plural(r.Rows, "row", "rows"), plural(int64(len(r.Tables)), "table", "tables"), size(r.Bytes), time.Since(began).Seconds())
}

// noteMigrated tells what is not as one would expect.
func (a *app) noteMigrated(r jsbucket.Result) {
	if len(r.Others) > 0 {
		a.stderr.Printf("warning: the changes of %s are not included: %s; --node chooses another node\n",
			plural(int64(len(r.Others)), "other node", "other nodes"), strings.Join(slices.Sorted(slices.Values(r.Others)), ", "))
	}
	for _, key := range r.Damaged {
		a.stderr.Printf("warning: the snapshot %s is damaged; what was before it replaced it\n", key)
	}
	for _, note := range r.Notes {
		a.stderr.Printf("note: %s\n", note)
	}
	if r.Violations > 0 {
		a.stderr.Printf("note: %s to a missing row\n", plural(r.Violations, "row refers", "rows refer"))
	}
}
