package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/wrap"
	"github.com/spf13/cobra"
)

// uploadOptions are those of the commands that send a file to its backup.
type uploadOptions struct {
	place
	path     string
	takeover bool
}

func (o *uploadOptions) flags(c *cobra.Command) {
	o.place.flags(c)
	c.Flags().BoolVar(&o.takeover, "takeover", false, "take the database over if another node is its writer")
}

func (a *app) backupCommand() *cobra.Command {
	o := new(uploadOptions)
	c := &cobra.Command{
		Use:   "backup FILE --store URL [--name NAME] [--takeover]",
		Short: "Back up any SQLite file",
		Long: `Back up any SQLite file: the first time, it adds DriftDB's own tables to FILE,
which other programs do not notice, and stores a snapshot of it. After that it
sends what has changed. NAME is that of the backup in the store; without it, it
is the file's name without its ending.

A program that opens FILE with DriftDB has each of its changes in the backup. Of
what other programs write, the backup has the state of each run: run the command
again, for example from cron. They may have FILE open meanwhile, but no program
that uses DriftDB may. FILE is left in WAL mode; the first time, backup needs a
moment in which no program has a transaction open, and waits 10 seconds for it.

backup refuses, and leaves FILE as it is: what is not an SQLite database, and a
file for whose NAME the store has the backup of another database. If another
node has taken the database over, backup fails, unless --takeover takes it back.

detach removes DriftDB's tables again.

With --json the result is {"database", "file", "adopted", "tables", "rows",
"fileBytes", "sequence", "uploadedBytes", "requests", "objects", "storedBytes",
"seconds"}: adopted says whether this was the first time, uploadedBytes and
requests are those of this run, objects and storedBytes the whole backup. rows
leaves out those of virtual tables.`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(c)
	return a.command(c, func(ctx context.Context, args []string) error {
		o.path = args[0]
		if !c.Flags().Changed("name") {
			o.name = nameOf(o.path)
		}
		return a.runBackup(ctx, o)
	}, "store")
}

// nameOf is the name of a backup for those who give none.
func nameOf(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// backedUp is the result of a backup.
type backedUp struct {
	Database      string  `json:"database"`
	File          string  `json:"file"`
	Adopted       bool    `json:"adopted"`
	Tables        int64   `json:"tables"`
	Rows          int64   `json:"rows"`
	FileBytes     int64   `json:"fileBytes"` // with its WAL
	Sequence      int64   `json:"sequence"`
	UploadedBytes int64   `json:"uploadedBytes"`
	Requests      int64   `json:"requests"`
	Objects       int     `json:"objects"`
	StoredBytes   int64   `json:"storedBytes"`
	Seconds       float64 `json:"seconds"`
}

func (a *app) runBackup(ctx context.Context, o *uploadOptions) error {
	began := time.Now()
	cfg, err := a.config(ctx, o.place)
	if err != nil {
		return err
	}
	if err := mustBeDatabase(o.path); err != nil {
		return err
	}
	r := backedUp{Database: o.name, File: o.path}
	if r.Adopted, err = o.mayAdopt(ctx, cfg); err != nil {
		return err
	}
	err = a.upload(ctx, o, cfg, func(db *driftdb.DB) (err error) {
		if err = db.Flush(ctx); err != nil {
			return err
		}
		m := db.Metrics()
		r.Sequence, r.UploadedBytes, r.Requests, r.FileBytes = db.Sequence(), m.BytesUploaded, m.Requests, m.DBSizeBytes
		if r.Tables, r.Rows, err = countRows(ctx, db); err != nil {
			return err
		}
		stored, err := db.Backup().Info(ctx)
		r.Objects, r.StoredBytes = stored.Objects, stored.Bytes
		return err
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	r.Seconds = seconds(took)
	if err := a.report(r, "backed up %s as %s: %s, %s, %s\nuploaded %s in %s, in %.1f s; the backup is at change %d: %s, %s\n",
		o.path, o.name, plural(r.Tables, "table", "tables"), plural(r.Rows, "row", "rows"), size(r.FileBytes),
		size(r.UploadedBytes), plural(r.Requests, "request", "requests"), took.Seconds(),
		r.Sequence, plural(int64(r.Objects), "object", "objects"), size(r.StoredBytes)); err != nil {
		return err
	}
	if r.Adopted {
		a.stderr.Printf("hint: driftdb verify proves that it can be restored; run driftdb backup again for what other programs write\n")
	}
	return nil
}

// mustBeDatabase refuses files that cannot be backed up, before Open makes them databases.
func mustBeDatabase(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file; name the SQLite database itself", path)
	}
	const magic = "SQLite format 3\x00"
	head := make([]byte, len(magic))
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	n, err := f.ReadAt(head, 0)
	if closed := f.Close(); closed != nil {
		return closed
	}
	if err != nil && err != io.EOF {
		return err
	}
	if string(head[:n]) == magic {
		return nil
	}
	why := "it does not begin as one"
	switch n {
	case 0:
		why = "it is empty"
	case len(magic):
	default:
		why = "it is too short"
	}
	return hinted{
		fmt.Errorf("%s is not an SQLite database: %s", path, why),
		"a database that a program has encrypted cannot be backed up; if the file should be a database, check it with: sqlite3 FILE .tables",
	}
}

// mayAdopt reports whether the file is one without DriftDB. It refuses such a file if the
// store has a backup of its name: that is another database's.
func (o *uploadOptions) mayAdopt(ctx context.Context, cfg driftdb.BackupConfig) (bool, error) {
	_, err := driftdb.OpenBackup(ctx, cfg)
	exists := err == nil
	if err != nil && !errors.Is(err, driftdb.ErrNoBackup) {
		return false, err
	}
	last, err := lastLogged(ctx, driftdb.Config{Name: o.name, Path: o.path})
	switch {
	case err != nil:
		return false, err
	case last > 0:
		return false, nil
	case exists:
		return false, hinted{
			fmt.Errorf("the store has a backup with the name %s, and %s is not its database", o.name, o.path),
			"choose another --name; driftdb status lists the names that are taken",
		}
	}
	return true, nil
}

func (a *app) syncCommand() *cobra.Command {
	o := new(uploadOptions)
	c := &cobra.Command{
		Use:   "sync FILE --store URL --name NAME [--takeover]",
		Short: "Send what a database file has and its backup does not",
		Long: `Send what the database FILE has and its backup does not: changes that a program
had not uploaded when it ended, or that it made without the store. A program
that has FILE open does this by itself, and keeps others from it.

It returns when the store has everything, and its manifest says so. For a file
that was never backed up, use driftdb backup. If another node has taken the
database over, sync fails, unless --takeover takes it back.

With --json the result is {"database", "file", "sequence", "uploadedBytes",
"requests", "seconds"}.`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(c)
	return a.command(c, func(ctx context.Context, args []string) error {
		o.path = args[0]
		return a.runSync(ctx, o)
	}, "name", "store")
}

// synced is the result of a sync, and of a snapshot.
type synced struct {
	Database      string  `json:"database"`
	File          string  `json:"file"`
	Sequence      int64   `json:"sequence"`
	Key           string  `json:"key,omitempty"`
	Bytes         int64   `json:"bytes,omitzero"`
	UploadedBytes int64   `json:"uploadedBytes"`
	Requests      int64   `json:"requests"`
	Seconds       float64 `json:"seconds"`
}

func (a *app) runSync(ctx context.Context, o *uploadOptions) error {
	began := time.Now()
	r := synced{Database: o.name, File: o.path}
	err := a.uploadLogged(ctx, o, func(db *driftdb.DB) error {
		err := db.Flush(ctx)
		r.took(db)
		return err
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	r.Seconds = seconds(took)
	return a.report(r, "the backup of %s has everything up to change %d; uploaded %s in %s, in %.1f s\n",
		o.name, r.Sequence, size(r.UploadedBytes), plural(r.Requests, "request", "requests"), took.Seconds())
}

func (a *app) snapshotCommand() *cobra.Command {
	o := new(uploadOptions)
	c := &cobra.Command{
		Use:   "snapshot FILE --store URL --name NAME [--takeover]",
		Short: "Store a snapshot of a database file",
		Long: `Store a snapshot of the database FILE, and before it what its backup does not
have yet. Restores that begin with it read less of the log. Programs take
snapshots by themselves; one by hand replaces a damaged one, which driftdb
verify reports, or comes before something risky.

It needs free disk space of the size of the database. No program may have FILE
open; in Go, use DB.Snapshot. If another node has taken the database over,
snapshot fails, unless --takeover takes it back.

With --json the result is {"database", "file", "sequence", "key", "bytes",
"uploadedBytes", "requests", "seconds"}: sequence, key and bytes are those of
the snapshot.`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(c)
	return a.command(c, func(ctx context.Context, args []string) error {
		o.path = args[0]
		return a.runSnapshot(ctx, o)
	}, "name", "store")
}

func (a *app) runSnapshot(ctx context.Context, o *uploadOptions) error {
	began := time.Now()
	r := synced{Database: o.name, File: o.path}
	err := a.uploadLogged(ctx, o, func(db *driftdb.DB) error {
		s, err := db.Snapshot(ctx)
		r.took(db)
		r.Sequence, r.Key, r.Bytes = s.Sequence, s.Key, s.Size
		return err
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	r.Seconds = seconds(took)
	return a.report(r, "stored a snapshot of %s after change %d: %s; uploaded %s in %s, in %.1f s\n",
		o.name, r.Sequence, size(r.Bytes), size(r.UploadedBytes), plural(r.Requests, "request", "requests"), took.Seconds())
}

func (r *synced) took(db *driftdb.DB) {
	m := db.Metrics()
	r.Sequence, r.UploadedBytes, r.Requests = db.Sequence(), m.BytesUploaded, m.Requests
}

// uploadLogged is upload for a file that has been backed up before, or can be.
func (a *app) uploadLogged(ctx context.Context, o *uploadOptions, run func(*driftdb.DB) error) error {
	cfg, err := a.config(ctx, o.place)
	if err != nil {
		return err
	}
	if err := mustBeDatabase(o.path); err != nil {
		return err
	}
	last, err := lastLogged(ctx, driftdb.Config{Name: o.name, Path: o.path})
	if err != nil {
		return err
	}
	if last == 0 {
		return hinted{fmt.Errorf("%s was never backed up", o.path), "driftdb backup begins a backup of it"}
	}
	return a.upload(ctx, o, cfg, run)
}

// upload opens the file, and shows how much run sends.
func (a *app) upload(ctx context.Context, o *uploadOptions, at driftdb.BackupConfig, run func(*driftdb.DB) error) (err error) {
	defer func() {
		if errors.Is(err, driftdb.ErrLocked) {
			err = hinted{err, "close the program that has the file open, or leave this to it; if another node is the database's writer, and should not be, use --takeover"}
		}
	}()
	sent := &wrap.Meter{Store: at.Store}
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: o.name, Path: o.path, Store: sent, EncryptionKeys: at.EncryptionKeys,
		ManualSync: true, RefuseTakeover: !o.takeover, OnEvent: a.warnOfOthers,
	})
	if err != nil {
		return err
	}
	return a.watchUpload(db, sent, func() error {
		if err := run(db); err != nil {
			return errors.Join(err, db.Close())
		}
		return db.Shutdown(ctx) // another node need not take over from a session that has ended
	})
}

// warnOfOthers is warn without what driftdb backup is for.
func (a *app) warnOfOthers(e driftdb.Event) {
	if e.Kind != driftdb.EventForeignWrite && e.Kind != driftdb.EventAdopted {
		a.warn(e)
	}
}

// countRows counts the user's tables, and the rows of those that have their own. Those of a
// virtual table are computed, by a module that this program may lack.
func countRows(ctx context.Context, db *driftdb.DB) (tables, rows int64, err error) {
	type named struct{ Name, Type string }
	all, err := driftdb.Select[named](ctx, db, `SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')
		AND name NOT LIKE '\_driftdb\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`)
	if err != nil {
		return 0, 0, err
	}
	all = slices.DeleteFunc(all, func(t named) bool { return isDriftDBs(t.Name) })
	for _, t := range all {
		if t.Type == "virtual" {
			continue
		}
		n, err := driftdb.Select[int64](ctx, db, "SELECT count(*) FROM main."+quote(t.Name))
		if err != nil {
			return 0, 0, fmt.Errorf("count the rows of %q: %w", t.Name, err)
		}
		rows += n[0]
	}
	return int64(len(all)), rows, nil
}
