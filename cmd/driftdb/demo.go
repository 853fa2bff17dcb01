package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/spf13/cobra"
)

// demo writes, uploads, loses and restores a database in one run.
type demo struct {
	app   *app
	dir   string
	csv   string // "": generated rows
	cfg   driftdb.Config
	store objstore.Store
}

func (a *app) demoCommand() *cobra.Command {
	d := &demo{app: a}
	c := &cobra.Command{
		Use:   "demo [--dir DIR] [--csv FILE]",
		Short: "Show what DriftDB does: write, upload, delete the file, restore it",
		Long: `Show what DriftDB does, without an account: open a database with a folder as its
bucket, write rows, upload them, delete the database, open it again, and compare
every row. The exit code is 1 if anything is missing.

With --json the result is {"tables", "rows", "sequence", "objects",
"storedBytes", "before", "after", "same", "seconds"}: before and after are
digests of all rows, seconds is the time the restore took.`,
	}
	c.Flags().StringVar(&d.dir, "dir", "", "work in `DIR` and keep everything there (default: a temporary folder)")
	c.Flags().StringVar(&d.csv, "csv", "", "use the rows of this CSV `FILE`")
	return a.command(c, func(ctx context.Context, _ []string) error { return d.run(ctx) })
}

// demoResult is the result of a demo.
type demoResult struct {
	Tables      int64   `json:"tables"`
	Rows        int64   `json:"rows"`
	Sequence    int64   `json:"sequence"`
	Objects     int64   `json:"objects"`
	StoredBytes int64   `json:"storedBytes"`
	Before      string  `json:"before"`
	After       string  `json:"after"`
	Same        bool    `json:"same"`
	Seconds     float64 `json:"seconds"`
}

// say prints a line of the story, except with --json.
func (d *demo) say(format terminal.Format, args ...any) {
	if !d.app.json {
		d.app.stdout.Printf(format+"\n", args...)
	}
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.dir == "" {
		if d.dir, err = os.MkdirTemp("", "driftdb-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	}
	if err := d.prepare(); err != nil {
		return err
	}
	d.say("Database: %s\nBucket:   %s (a folder)\n", d.cfg.Path, filepath.Join(d.dir, "bucket"))

	before, r, err := d.write(ctx)
	if err != nil {
		return err
	}
	if err := d.listBucket(ctx, &r); err != nil {
		return err
	}
	if err := d.lose(); err != nil {
		return err
	}
	after, err := d.reopen(ctx, &r)
	if err != nil {
		return err
	}
	r.Before, r.After, r.Same = before.sum, after.sum, before == after
	d.say("\nDigest before: %s\nDigest after:  %s", r.Before, r.After)
	if d.app.json {
		if err := d.app.stdout.JSON(r); err != nil {
			return err
		}
	}
	if !r.Same {
		return fmt.Errorf("the restored database differs: %d rows before, %d after", before.rows, after.rows)
	}
	d.say("Every row is back: %s in %s.", plural(after.rows, "row", "rows"), plural(after.tables, "table", "tables"))
	return nil
}

// prepare creates the folders.
func (d *demo) prepare() error {
	path, bucket := filepath.Join(d.dir, "demo.sqlite"), filepath.Join(d.dir, "bucket")
	for _, taken := range []string{path, bucket} {
		_, err := os.Lstat(taken)
		if err == nil {
			return hinted{fmt.Errorf("%s already exists", taken), "choose an empty folder for --dir, or delete the files of an earlier demo"}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	keys, err := d.app.keys()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(bucket, 0o700); err != nil {
		return err
	}
	if d.store, err = objstore.Dir(bucket); err != nil {
		return err
	}
	d.cfg = driftdb.Config{Name: "demo", Path: path, Store: d.store, EncryptionKeys: keys, AutoRestore: true, OnEvent: d.app.warn}
	return nil
}

// write fills a new database and uploads it.
func (d *demo) write(ctx context.Context) (before digest, r demoResult, err error) {
	db, err := driftdb.Open(ctx, d.cfg)
	if err != nil {
		return before, r, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if d.csv == "" {
		err = d.writeOwn(ctx, db)
	} else {
		err = d.writeCSV(ctx, db)
	}
	if err != nil {
		return before, r, err
	}
	if before, err = takeDigest(ctx, db); err != nil {
		return before, r, err
	}
	r.Tables, r.Rows, r.Sequence = before.tables, before.rows, db.Sequence()
	return before, r, db.Flush(ctx)
}

// task is a record of the demo's repository.
type task struct {
	driftdb.Base
	Title string
	Done  bool
}

// writeOwn writes rows through a repository and through plain SQL.
func (d *demo) writeOwn(ctx context.Context, db *driftdb.DB) error {
	tasks, err := driftdb.Define[task](ctx, db, "tasks")
	if err != nil {
		return err
	}
	made, err := tasks.CreateMany(ctx, []task{{Title: "Write a database"}, {Title: "Lose the laptop"}, {Title: "Worry"}})
	if err != nil {
		return err
	}
	if _, err := tasks.UpdateByID(ctx, made[0].ID, driftdb.Set{"done": true}); err != nil {
		return err
	}
	if _, err := tasks.DeleteByID(ctx, made[2].ID); err != nil {
		return err
	}
	d.say("1. Through a repository: 3 tasks created, 1 changed, 1 deleted.")
	_, err = db.SQL().ExecContext(ctx, `
		CREATE TABLE readings (id INTEGER PRIMARY KEY, celsius REAL NOT NULL, note TEXT);
		CREATE TABLE alarms (reading INTEGER REFERENCES readings, celsius REAL);
		CREATE TRIGGER alarm AFTER INSERT ON readings WHEN new.celsius >= 40 BEGIN
			INSERT INTO alarms VALUES (new.id, new.celsius);
		END;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
			INSERT INTO readings (celsius, note) SELECT i % 450 / 10.0, 'no. ' || i FROM n;
		UPDATE readings SET note = NULL WHERE id % 7 = 0`)
	d.say("   Through plain SQL: 1,000 readings in a new table, and alarms added by a trigger.")
	return err
}

func (d *demo) writeCSV(ctx context.Context, db *driftdb.DB) (err error) {
	src, err := openSource(ctx, d.csv, d.app.stdin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	csv, err := newCSVReader(src.name, src.text)
	if err != nil {
		return err
	}
	bar := d.app.stderr.Bar("importing", src.size)
	defer bar.Stop()
	l := &loader{db: db, table: "rows", csv: csv, batch: defaultBatch, committed: func(rows int64) {
		bar.Set(count(rows)+" rows", src.read, src.size)
	}}
	began := time.Now()
	rows, err := l.load(ctx)
	if err != nil {
		return err
	}
	d.say("1. Imported %s of %s in %.1f s.", plural(rows, "row", "rows"), src.name, time.Since(began).Seconds())
	return nil
}

// listBucket shows what was uploaded.
func (d *demo) listBucket(ctx context.Context, r *demoResult) error {
	d.say("2. Uploaded. The bucket holds:")
	for o, err := range d.store.List(ctx, "", objstore.ListOptions{}) {
		if err != nil {
			return err
		}
		d.say("     %-11s %s", size(o.Size), strings.TrimPrefix(o.Key, "databases/demo/"))
		r.Objects, r.StoredBytes = r.Objects+1, r.StoredBytes+o.Size
	}
	return nil
}

// lose deletes the database.
func (d *demo) lose() error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(d.cfg.Path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	d.say("3. Deleted the database file, with its -wal and -shm.")
	return nil
}

// reopen opens the database again; AutoRestore must rebuild it from the bucket.
func (d *demo) reopen(ctx context.Context, r *demoResult) (after digest, err error) {
	began := time.Now()
	db, err := driftdb.Open(ctx, d.cfg)
	if err != nil {
		return after, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	took := time.Since(began)
	r.Seconds = seconds(took)
	d.say("4. Opened it again: AutoRestore rebuilt it from the bucket in %s.", took.Round(time.Millisecond))
	if after, err = takeDigest(ctx, db); err != nil {
		return after, err
	}
	return after, db.IntegrityCheck(ctx)
}
