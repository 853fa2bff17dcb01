package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/driftdb/driftdb-go"
)

// input is what an import reads, and how.
type input struct {
	*source
	app    *app
	path   string
	sum    string      // of the file; "": it can be read only once
	info   os.FileInfo // of the file when its reading began
	csv    *csvReader
	loader *loader

	guessed bool // the delimiter was not given
	several bool // it was found, there is more than one column
}

// Close closes the file.
func (in *input) Close() error { return in.source.Close() }

// openInput opens the file and reads its header. Of a file that can be read again it also
// takes the digest, by which it is known.
func (a *app) openInput(ctx context.Context, o *importOptions, path string) (_ *input, err error) {
	in := &input{app: a, path: path}
	if in.source, err = openSource(ctx, path, a.stdin); err != nil {
		return nil, err
	}
	in.info = in.source.info
	defer func() {
		if err != nil {
			err = errors.Join(err, in.Close())
		}
	}()
	if o.resume && !in.again() {
		return nil, usage(hinted{
			fmt.Errorf("--resume needs a file: %s cannot be read from its start again, so nothing shows that it continues what was loaded", in.name),
			"write it to a file first, or pass only the header and the rows that are missing, without --resume",
		})
	}
	if err := in.readHeader(ctx, o.delimiter); err != nil {
		return nil, err
	}
	if in.again() {
		in.sum, err = in.measure(ctx)
	}
	return in, err
}

// readHeader reads the first row, with the delimiter that is given or else found.
func (in *input) readHeader(ctx context.Context, delimiter rune) (err error) {
	if delimiter == 0 {
		in.guessed = true
		delimiter, in.several = findDelimiter(sample(in.source))
	}
	in.csv, err = newCSVReader(in.name, in.text, delimiter)
	return err
}

// measure reads the whole file, apart from the reading of its rows.
func (in *input) measure(ctx context.Context) (sum string, err error) {
	s, err := openSource(ctx, in.path, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	bar := in.app.stderr.Bar("reading", s.size)
	defer bar.Stop()
	if sum, err = s.digest(ctx, func() { bar.Set("reading", s.read, s.size) }); err != nil {
		return "", err
	}
	return sum, in.same(s)
}

// same returns an error if s does not read the file as it was when the reading began.
func (in *input) same(s *source) error {
	same, err := s.same(in.info)
	if err != nil || same {
		return err
	}
	return hinted{
		fmt.Errorf("%s was changed while it was read; the rows in the table are those of the file as it was", in.name),
		"with the file as it was, --resume goes on; to import it as it is now, delete the rows and use --again when nobody writes it",
	}
}

// unchanged returns an error if what was read is not the file that was measured. The rows of
// a transaction are not committed then, so that the record is true. At the end of the file
// its contents decide, for times can be set: if they differ, nothing tells which rows are
// those of the file that the record names, and the record must not be resumed.
func (in *input) unchanged(ctx context.Context, end bool) error {
	if in.sum == "" {
		return nil
	}
	if err := in.same(in.source); err != nil || !end {
		return err
	}
	sum, err := in.digest(ctx, func() {})
	if err != nil || sum == in.sum {
		return err
	}
	err = hinted{
		fmt.Errorf("%s was changed while it was read, so the rows in the table are not those of one version of it", in.name),
		"delete the rows, and import the file with --again when nobody writes it",
	}
	return errors.Join(err, in.loader.record.disown(ctx, in.loader.db, sum))
}

// position finds out where the import begins, and goes there.
func (a *app) position(ctx context.Context, o *importOptions, in *input, db *driftdb.DB) error {
	l := &loader{db: db, table: o.table, csv: in.csv, null: o.null, batch: o.batch, exact: o.batchGiven}
	l.unchanged = func(end bool) error { return in.unchanged(ctx, end) }
	l.settled = func() { sayTypes(a.stderr, l) }
	in.loader = l
	if in.sum != "" {
		if err := a.findRecord(ctx, o, in); err != nil {
			return err
		}
		l.null = l.record.Null
	}
	switch {
	case l.record != nil && l.record.Done:
		return nil
	case l.before() > 0:
		return in.pass(ctx)
	case o.types != "infer":
		return nil
	}
	columns, err := columnsOf(ctx, db, o.table)
	switch {
	case err != nil:
		return err
	case len(columns) > 0:
		return usagef("--types infer is for a new table, and %q exists: its own types convert the values; leave --types out", o.table)
	case in.sum == "":
		l.infer = true
		return nil
	}
	return in.infer(ctx)
}

// findRecord finds the record of the file, or makes a new one.
func (a *app) findRecord(ctx context.Context, o *importOptions, in *input) error {
	records, err := findImports(ctx, in.loader.db, o.table)
	if err != nil {
		return err
	}
	fresh := importRecord{
		Table: o.table, SHA256: in.sum, File: in.base(), Size: in.size, Null: o.null, Types: o.types,
		Delimiter: string(in.csv.r.Comma),
	}
	r, err := o.decide(records, fresh, in.name)
	if err != nil {
		return err
	}
	in.loader.record = &r
	switch {
	case !o.resume:
	case r.Done:
		a.stderr.Printf("nothing to resume: all %s of %s are in table %s since %s\n", plural(r.Rows, "row", "rows"), in.name, r.Table, stamp(r.UpdatedAt))
	case r.Rows > 0:
		a.stderr.Printf("resuming after row %s of %s, which was committed at %s\n", count(r.Rows), in.name, stamp(r.UpdatedAt))
	default:
		a.stderr.Printf("nothing to resume: no row of %s is in table %s; beginning with the first\n", in.name, o.table)
	}
	return nil
}

// pass passes over the rows that are in the table. The delimiter is that of the import that
// put them there.
func (in *input) pass(ctx context.Context) error {
	r := in.loader.record
	if delimiter := []rune(r.Delimiter)[0]; delimiter != in.csv.r.Comma {
		s, err := openSource(ctx, in.path, nil)
		if err != nil {
			return err
		}
		if err := in.Close(); err != nil {
			return errors.Join(err, s.Close())
		}
		in.source = s
		if err := in.same(s); err != nil {
			return err
		}
		if in.csv, err = newCSVReader(s.name, s.text, delimiter); err != nil {
			return err
		}
		in.loader.csv = in.csv
	}
	bar := in.app.stderr.Bar("passing over rows", in.size)
	defer bar.Stop()
	return in.csv.skip(ctx, r.Rows, func() { bar.Set("passing over rows", in.read, in.size) })
}

// infer finds the types of the columns in a reading of its own.
func (in *input) infer(ctx context.Context) (err error) {
	s, err := openSource(ctx, in.path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	csv, err := newCSVReader(s.name, s.text, in.csv.r.Comma)
	if err != nil {
		return err
	}
	bar := in.app.stderr.Bar("finding types", s.size)
	defer bar.Stop()
	if err := in.loader.inferFile(ctx, csv, func() { bar.Set("finding types", s.read, s.size) }); err != nil {
		return err
	}
	if err := in.same(s); err != nil {
		return err
	}
	in.loader.settled()
	return nil
}

// load loads the rows that are missing.
func (a *app) load(ctx context.Context, in *input) (rows int64, err error) {
	l := in.loader
	if l.record != nil && l.record.Done {
		return l.record.Rows, nil
	}
	switch {
	case !in.guessed || l.before() > 0: // then it is that of the earlier import
	case in.several:
		a.stderr.Printf("delimiter: %s, found in the file; --delimiter names another\n", delimiterName(in.csv.r.Comma))
	default:
		a.stderr.Printf("delimiter: none found, so there is one column; --delimiter names one\n")
	}
	bar := a.stderr.Bar("importing", in.size)
	defer bar.Stop()
	l.committed = func(rows int64) {
		if bar == nil {
			a.stderr.Printf("committed rows: %d\n", rows)
		}
		bar.Set(count(rows)+" rows", in.read, in.size)
	}
	return l.load(ctx)
}
