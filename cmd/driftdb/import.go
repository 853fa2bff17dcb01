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
	path, table   string
	batch         int
	batchGiven    bool
	noTakeover    bool
	delimiterText string
	delimiter     rune // 0: to be found
	nullText      string
	null          *string // nil: no field means NULL
	types         string
	typesGiven    bool
	resume, again bool
}

func (a *app) importCommand() *cobra.Command {
	o := new(importOptions)
	c := &cobra.Command{
		Use: `import --db FILE --name NAME --store URL --table T [--batch N]
    [--delimiter C] [--null TEXT] [--types text|infer] [--resume | --again]
    [--no-takeover] FILE.csv[.gz]`,
		Short: "Load a CSV file into a table and upload it",
		Long: `Load a CSV file into a table of a database and upload it.

The first line names the columns. Fields are separated by comma, semicolon, tab
or |, whichever fits; what was found is said on standard error. The file must be
UTF-8 and may be compressed with gzip; "-" is standard input. Empty lines are
skipped.

A missing table is created. Its columns are TEXT, and fields are stored exactly:
an empty field is an empty string. With --types infer, a column whose fields are
all numbers becomes INTEGER or REAL. Everything else stays TEXT: numbers with
leading zeros or a plus, integers of more than 64 bits, decimals of more than 15
digits, and dates. A file is read once more for that, to its end; of standard
input the rows of the first transaction decide, and a later row that does not
fit is an error. An existing table must have the same columns; its own types
convert the values. With --null TEXT, fields that are exactly TEXT become NULL,
in quotes or not.

Rows are committed in transactions, of 10,000 rows or 8 MiB, or of exactly as
many rows as --batch says, and uploaded meanwhile. After each transaction a line
on standard error (on a terminal, a progress bar) says how many rows are
committed: these are safe in the file, whatever happens.

How far the import of a file has come is in the table driftdb_imports, in the
transaction of the rows. So after an interruption, a kill, or a restore from the
store, the same command with --resume goes on after the last row that is there;
with nothing to go on with it begins, and with nothing left to do it succeeds. A
file that is in the table already, in part or whole, is refused without --resume
or --again, which imports all of it once more. A file is known by its contents,
not by its name. One that was changed since its import stopped is refused. A
compressed file is read from its start again, up to where it goes on. Standard
input cannot be read again, so it is not recorded, and not resumed.

If another node has taken the database over, the import takes it back, provided
that the file has everything the store has. With --no-takeover it fails instead.

With --json the result is {"database", "table", "rows", "rowsBefore", "seconds",
"rowsPerSecond", "sequence", "uploadedBytes", "objects", "storedBytes"};
rowsBefore is how many rows an earlier import had left, and the last two cover
the whole database in the store.`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(c)
	c.Flags().StringVar(&o.path, "db", "", "`FILE` of the database; created if it is missing")
	c.Flags().StringVar(&o.table, "table", "", "`TABLE` to insert into; created if it is missing")
	c.Flags().IntVar(&o.batch, "batch", defaultBatch, "rows in a transaction; of large rows fewer, if this is not given")
	c.Flags().StringVar(&o.delimiterText, "delimiter", "", "`CHARACTER` between fields, or tab (default: found in the file)")
	c.Flags().StringVar(&o.nullText, "null", "", "`TEXT` of fields that are NULL (default: none are)")
	c.Flags().StringVar(&o.types, "types", "text", "types of a new table's columns: `text|infer`")
	c.Flags().BoolVar(&o.resume, "resume", false, "go on where an interrupted import of the file stopped")
	c.Flags().BoolVar(&o.again, "again", false, "import the file although it is in the table already")
	c.Flags().BoolVar(&o.noTakeover, "no-takeover", false, "fail if another node is the writer of the database in the store")
	return a.command(c, func(ctx context.Context, args []string) error {
		o.batchGiven, o.typesGiven = c.Flags().Changed("batch"), c.Flags().Changed("types")
		if c.Flags().Changed("null") {
			o.null = &o.nullText
		}
		return a.runImport(ctx, o, args[0])
	}, "db", "name", "store", "table")
}

// check refuses options that are wrong whatever the file is.
func (o *importOptions) check() (err error) {
	if err := checkTable(o.table); err != nil {
		return usage(err)
	}
	switch {
	case o.batch < 1:
		return usagef("--batch %d is too small; use 1 or more", o.batch)
	case o.types != "text" && o.types != "infer":
		return usagef("--types %q is neither text nor infer", o.types)
	case o.resume && o.again:
		return usagef("--resume goes on with an import, and --again begins a new one; choose one of them")
	}
	o.delimiter, err = parseDelimiter(o.delimiterText)
	return err
}

func (a *app) runImport(ctx context.Context, o *importOptions, file string) (err error) {
	began := time.Now()
	if err := o.check(); err != nil {
		return err
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
	in, err := a.openInput(ctx, o, file)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := a.askBucket(ctx, at); err != nil {
		return err
	}
	cfg := driftdb.Config{
		Name: o.name, Path: o.path, Store: at.Store, EncryptionKeys: at.EncryptionKeys,
		SyncInterval: time.Second, OnEvent: a.warn, RefuseTakeover: o.noTakeover,
	}
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		return err
	}
	if err := a.position(ctx, o, in, db); err != nil {
		return errors.Join(err, db.Close())
	}
	before := in.loader.before()
	rows, err := a.load(ctx, in)
	if err := a.finish(ctx, db, o.path, in, rows, err); err != nil {
		return err
	}
	return a.reportImport(ctx, imported{Database: o.name, Table: o.table, Rows: rows - before, RowsBefore: before}, db, time.Since(began))
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
