package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/spf13/cobra"
)

// demo tells the life of a database in one run.
type demo struct {
	app    *app
	dir    string
	kept   bool   // dir is the user's
	csv    string // "": generated rows
	table  string // which a mistake is made in
	bucket string // a folder
	cfg    driftdb.Config
	store  *meteredStore
	stores []*meteredStore // with that of the act on encryption
	step   int
	unsaid error // the first line that could not be printed
}

func (a *app) demoCommand() *cobra.Command {
	d := &demo{app: a}
	c := &cobra.Command{
		Use:   "demo [--dir DIR] [--csv FILE]",
		Short: "Show what DriftDB does: write, lose, restore, undo, and more",
		Long: `Show what DriftDB does, without an account and in some seconds, with a folder
as the bucket: write rows, upload them, delete the database, and get every row
back; find a bad UPDATE in the log and undo it; let two machines write, of which
one is refused; flip a bit in the bucket, which is noticed; encrypt; and count
what all of it would have cost. Each step is checked: the exit code is 1 if
anything is not as it should be.

Everything is in a temporary folder, which is removed at the end, also after an
interruption. With --dir it stays.

With --json the result is {"tables", "rows", "sequence", "objects",
"storedBytes", "before", "after", "same", "seconds", "undone", "fenced",
"damageFound", "encrypted", "requests", "uploadedBytes"}: before and after are
digests of all rows, seconds is the time the restore took, and undone is how
many rows the bad UPDATE had changed.`,
	}
	c.Flags().StringVar(&d.dir, "dir", "", "work in `DIR` and keep everything there (default: a temporary folder)")
	c.Flags().StringVar(&d.csv, "csv", "", "use the rows of this CSV `FILE`")
	return a.command(c, func(ctx context.Context, _ []string) error { return d.run(ctx) })
}

// demoResult is the result of a demo.
type demoResult struct {
	Tables        int64   `json:"tables"`
	Rows          int64   `json:"rows"`
	Sequence      int64   `json:"sequence"`
	Objects       int64   `json:"objects"`
	StoredBytes   int64   `json:"storedBytes"`
	Before        string  `json:"before"`
	After         string  `json:"after"`
	Same          bool    `json:"same"`
	Seconds       float64 `json:"seconds"`
	Undone        int     `json:"undone"`
	Fenced        bool    `json:"fenced"`
	DamageFound   bool    `json:"damageFound"`
	Encrypted     bool    `json:"encrypted"`
	Requests      int64   `json:"requests"`
	UploadedBytes int64   `json:"uploadedBytes"`
}

// say prints a line of the story, except with --json.
func (d *demo) say(format terminal.Format, args ...any) {
	if d.app.json {
		return
	}
	if err := d.app.stdout.Printf(format+"\n", args...); err != nil && d.unsaid == nil {
		d.unsaid = err
	}
}

// title begins the next step.
func (d *demo) title(text string) {
	d.step++
	if d.app.stdout.Colours() {
		d.say("\x1b[1;36m%d. %s\x1b[0m", d.step, text)
	} else {
		d.say("%d. %s", d.step, text)
	}
}

// good says that something is as it should be.
func (d *demo) good(text string) {
	if d.app.stdout.Colours() {
		d.say("   \x1b[32m%s\x1b[0m", text)
	} else {
		d.say("   %s", text)
	}
}

func (d *demo) run(ctx context.Context) (err error) {
	// A line that nobody reads is an error then, and ends the program only after it has
	// cleaned up.
	signal.Ignore(syscall.SIGPIPE)
	d.kept = d.dir != ""
	if !d.kept {
		if d.dir, err = os.MkdirTemp("", "driftdb-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	}
	if err := d.prepare(); err != nil {
		return err
	}
	if d.kept {
		d.say("A database and its bucket, a folder. Both are kept in\n%s\n", d.dir)
	} else {
		d.say("A database and its bucket, a folder. Both are removed at the end.\n")
	}
	var r demoResult
	for _, act := range []func(context.Context, *demoResult) error{d.write, d.lose, d.restore, d.mistake, d.writers, d.flip, d.seal, d.cost} {
		if err := act(ctx, &r); err != nil {
			return err
		}
		if d.unsaid != nil {
			return d.unsaid
		}
	}
	d.next()
	if d.app.json {
		return d.app.stdout.JSON(r)
	}
	return d.unsaid
}

// prepare creates the folders.
func (d *demo) prepare() (err error) {
	if d.dir, err = filepath.Abs(d.dir); err != nil {
		return err
	}
	path, other := filepath.Join(d.dir, "demo.sqlite"), filepath.Join(d.dir, "other.sqlite")
	d.bucket = filepath.Join(d.dir, "bucket")
	for _, taken := range []string{path, other, d.bucket, filepath.Join(d.dir, "secret.sqlite"), filepath.Join(d.dir, "secret-bucket")} {
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
	if err := os.MkdirAll(d.bucket, 0o700); err != nil {
		return err
	}
	folder, err := objstore.Dir(d.bucket)
	if err != nil {
		return err
	}
	d.store = d.metered(folder)
	d.cfg = driftdb.Config{
		Name: "demo", Path: path, Store: d.store, EncryptionKeys: keys,
		AutoRestore: true, ManualSync: true, OnEvent: d.app.warn,
	}
	return nil
}

// with opens a database for fn, and closes it.
func with(ctx context.Context, cfg driftdb.Config, fn func(*driftdb.DB) error) (err error) {
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return fn(db)
}

// write fills a new database and uploads it.
func (d *demo) write(ctx context.Context, r *demoResult) error {
	d.title("Write")
	return with(ctx, d.cfg, func(db *driftdb.DB) error {
		fill := d.writeOwn
		if d.csv != "" {
			fill = d.writeCSV
		}
		if err := fill(ctx, db); err != nil {
			return err
		}
		before, err := takeDigest(ctx, db)
		if err != nil {
			return err
		}
		r.Before, r.Tables, r.Rows, r.Sequence = before.sum, before.tables, before.rows, db.Sequence()
		if err := db.Flush(ctx); err != nil {
			return err
		}
		for o, err := range d.store.List(ctx, "", objstore.ListOptions{}) {
			if err != nil {
				return err
			}
			r.Objects, r.StoredBytes = r.Objects+1, r.StoredBytes+o.Size
		}
		d.say("   Uploaded: the bucket has %s, %s.", plural(r.Objects, "object", "objects"), size(r.StoredBytes))
		return nil
	})
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
	d.say("   Through a repository: 3 tasks created, 1 changed, 1 deleted.")
	_, err = db.SQL().ExecContext(ctx, `
		CREATE TABLE readings (id INTEGER PRIMARY KEY, celsius REAL NOT NULL, note TEXT);
		CREATE TABLE alarms (reading INTEGER REFERENCES readings, celsius REAL);
		CREATE TRIGGER alarm AFTER INSERT ON readings WHEN new.celsius >= 40 BEGIN
			INSERT INTO alarms VALUES (new.id, new.celsius);
		END;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
			INSERT INTO readings (celsius, note) SELECT i % 450 / 10.0, 'no. ' || i FROM n;
		UPDATE readings SET note = NULL WHERE id % 7 = 0`)
	d.say("   Through plain SQL: 1,000 readings, and alarms that a trigger adds.")
	d.table = "readings"
	return err
}

func (d *demo) writeCSV(ctx context.Context, db *driftdb.DB) (err error) {
	src, err := openSource(ctx, d.csv, d.app.stdin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	delimiter, _ := findDelimiter(sample(src))
	csv, err := newCSVReader(src.name, src.text, delimiter)
	if err != nil {
		return err
	}
	bar := d.app.stderr.Bar("importing", src.size)
	defer bar.Stop()
	d.table = "rows"
	l := &loader{
		db: db, table: d.table, csv: csv, batch: defaultBatch, unchanged: func(bool) error { return nil },
		committed: func(rows int64) { bar.Set(count(rows)+" rows", src.read, src.size) },
	}
	began := time.Now()
	rows, err := l.load(ctx)
	if err != nil {
		return err
	}
	d.say("   Imported %s of", plural(rows, "row", "rows"))
	d.say("   %s in %.1f s.", src.name, time.Since(began).Seconds())
	return nil
}
