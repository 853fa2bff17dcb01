package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

// defaultBatch is the number of rows in a transaction.
const defaultBatch = 10_000

type importOptions struct {
	place
	path, table string
	batch       int
	noTakeover  bool
}

func (a *app) importCommand() *cobra.Command {
	o := new(importOptions)
	c := &cobra.Command{
		Use:   "import --db FILE --name NAME --store URL --table T [--batch N] [--no-takeover] FILE.csv[.gz]",
		Short: "Load a CSV file into a table and upload it",
		Long: `Load a CSV file into a table of a database and upload it.

The first line names the columns. A missing table is created with TEXT columns.
An existing table must have the same columns; its column types convert the
values. Fields are stored exactly; an empty field is an empty string. The file
must be UTF-8 and may be compressed with gzip; "-" is standard input. Empty
lines are skipped.

Rows are committed in transactions and uploaded meanwhile. After each
transaction a line on standard error (on a terminal, a progress bar) says how
many rows are committed: these are safe in the file, whatever happens.

If another node has taken the database over, the import takes it back, provided
that the file has everything the store has. With --no-takeover it fails instead.

With --json the result is {"database", "table", "rows", "seconds",
"rowsPerSecond", "sequence", "uploadedBytes", "objects", "storedBytes"}; the
last two cover the whole database in the store.`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(c)
	c.Flags().StringVar(&o.path, "db", "", "`FILE` of the database; created if it is missing")
	c.Flags().StringVar(&o.table, "table", "", "`TABLE` to insert into; created if it is missing")
	c.Flags().IntVar(&o.batch, "batch", defaultBatch, "most rows in a transaction")
	c.Flags().BoolVar(&o.noTakeover, "no-takeover", false, "fail if another node is the writer of the database in the store")
	return a.command(c, func(ctx context.Context, args []string) error { return a.runImport(ctx, o, args[0]) },
		"db", "name", "store", "table")
}

// imported is the result of an import.
type imported struct {
	Database      string  `json:"database"`
	Table         string  `json:"table"`
	Rows          int64   `json:"rows"`
	Seconds       float64 `json:"seconds"`
	RowsPerSecond int64   `json:"rowsPerSecond"`
	Sequence      int64   `json:"sequence"`
	UploadedBytes int64   `json:"uploadedBytes"`
	Objects       int     `json:"objects"`
	StoredBytes   int64   `json:"storedBytes"`
}

func (a *app) runImport(ctx context.Context, o *importOptions, file string) (err error) {
	began := time.Now()
	if err := checkTable(o.table); err != nil {
		return usage(err)
	}
	if o.batch < 1 {
		return usagef("--batch %d is too small; use 1 or more", o.batch)
	}
	at, err := a.config(ctx, o.place)
	if err != nil {
		return err
	}
	defer func() {
		if o.noTakeover && errors.Is(err, driftdb.ErrLocked) {
			err = hinted{err, "close the program that has the file open; if another node has the database, omit --no-takeover to take it over"}
		}
	}()
	src, err := openSource(ctx, file, a.stdin)
	if err != nil {
		return err
	}
	defer src.Close()
	csv, err := newCSVReader(src.name, src.text)
	if err != nil {
		return err
	}
	if err := a.askBucket(ctx, at); err != nil {
		return err
	}
	cfg := driftdb.Config{
		Name: o.name, Path: o.path, Store: at.Store, EncryptionKeys: at.EncryptionKeys,
		SyncInterval: time.Second, OnEvent: a.warn,
	}
	if o.noTakeover {
		cfg.RefuseTakeover = true
	}
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		return err
	}
	bar := a.stderr.Bar("importing", src.size)
	l := &loader{db: db, table: o.table, csv: csv, batch: o.batch, committed: func(rows int64) {
		if bar == nil {
			a.stderr.Printf("committed rows: %d\n", rows)
		}
		bar.Set(count(rows)+" rows", src.read, src.size)
	}}
	rows, err := l.load(ctx)
	bar.Stop()
	if err := a.finish(ctx, db, o.path, rows, err); err != nil {
		return err
	}
	return a.reportImport(ctx, imported{Database: o.name, Table: o.table, Rows: rows}, db, time.Since(began))
}

// askTimeout bounds the wait for the bucket; after it the import continues without the
// bucket.
const askTimeout = 5 * time.Second

// askBucket checks, before any row is read, that the bucket exists and that the
// credentials and keys are right. A bucket that does not answer is no error: writing works
// offline.
func (a *app) askBucket(ctx context.Context, at driftdb.BackupConfig) error {
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := driftdb.OpenBackup(bounded, at)
	switch {
	case errors.Is(err, driftdb.ErrNoBackup): // Open starts a new one
		a.hintElsewhere(bounded, at.Store, at.Name)
		return nil
	case err != nil && bounded.Err() != nil && ctx.Err() == nil:
		a.stderr.Printf("warning: the bucket does not answer; importing without it: %v\n", err)
		return nil
	}
	return err
}

// warn prints what goes wrong in the background.
func (a *app) warn(e driftdb.Event) {
	if e.Level < slog.LevelWarn {
		return
	}
	text := e.Message
	for _, attr := range []string{"reason", "error"} {
		if why, ok := e.Attrs[attr]; ok {
			text = fmt.Sprintf("%s: %v", text, why)
		}
	}
	a.stderr.Printf("warning: %s\n", text)
}

// finish uploads the rest and closes the database. With any error it reports what became
// of the rows. An interrupted import no longer waits for the bucket.
func (a *app) finish(ctx context.Context, db *driftdb.DB, path string, rows int64, err error) error {
	if ctx.Err() != nil {
		return errors.Join(fmt.Errorf("interrupted: %s in %s; the rest is uploaded when the database is opened again: %w",
			are(rows), path, context.Cause(ctx)), db.Close())
	}
	sent := a.watchUpload(db, nil, func() error { return db.Shutdown(ctx) })
	if err != nil {
		err = fmt.Errorf("%w; %s in %s", err, are(rows), path)
	}
	if sent != nil {
		sent = fmt.Errorf("%s safe in %s, but not all of them are in the bucket: %w", are(rows), path, sent)
		if hintFor(sent) == "" {
			sent = hinted{sent, "the rest is uploaded when the database is opened again and the bucket answers"}
		}
	}
	return errors.Join(err, sent)
}

// are formats a number of rows with its verb.
func are(rows int64) string {
	switch rows {
	case 0:
		return "no row is"
	case 1:
		return "1 row is"
	}
	return count(rows) + " rows are"
}

// reportImport prints the summary of an import that took d.
func (a *app) reportImport(ctx context.Context, r imported, db *driftdb.DB, d time.Duration) error {
	stored, err := db.Backup().Info(ctx)
	if err != nil {
		return err
	}
	r.Seconds, r.RowsPerSecond = seconds(d), int64(float64(r.Rows)/d.Seconds())
	r.Sequence, r.UploadedBytes = db.Sequence(), db.Metrics().BytesUploaded
	r.Objects, r.StoredBytes = stored.Objects, stored.Bytes
	return a.report(r, "imported %s into %s in %.1f s (%s rows/s)\nuploaded %s; the backup is at change %d: %s, %s\n",
		plural(r.Rows, "row", "rows"), r.Table, d.Seconds(), count(r.RowsPerSecond),
		size(r.UploadedBytes), stored.Sequence, plural(int64(r.Objects), "object", "objects"), size(r.StoredBytes))
}
