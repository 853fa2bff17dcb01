package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go"
)

// The records of imports are rows of the user's database, and captured like any others: in
// every restored state of it they tell of the rows that this state has.
const createImports = `CREATE TABLE IF NOT EXISTS driftdb_imports(
	table_name  TEXT NOT NULL,    -- which the rows went into
	file_sha256 TEXT NOT NULL,    -- of the file as it was on the disk
	file_name   TEXT NOT NULL,    -- without its folder
	file_size   INTEGER NOT NULL, -- in bytes
	delimiter   TEXT NOT NULL,
	null_text   TEXT,             -- the field that means NULL; NULL: none does
	types       TEXT NOT NULL,    -- text or infer
	rows        INTEGER NOT NULL, -- of the file that are in the table, from its first on
	done        INTEGER NOT NULL, -- 1: these are all
	started_at  INTEGER NOT NULL, -- in ms since 1970
	updated_at  INTEGER NOT NULL, -- likewise, when rows or done changed last
	PRIMARY KEY(table_name, file_sha256)
) WITHOUT ROWID`

// importRecord is how far the import of a file has come.
type importRecord struct {
	Table     string    `db:"table_name"`
	SHA256    string    `db:"file_sha256"`
	File      string    `db:"file_name"`
	Size      int64     `db:"file_size"`
	Delimiter string    `db:"delimiter"`
	Null      *string   `db:"null_text"`
	Types     string    `db:"types"`
	Rows      int64     `db:"rows"`
	Done      bool      `db:"done"`
	StartedAt time.Time `db:"started_at"`
	UpdatedAt time.Time `db:"updated_at"`

	stored bool // the table has it
}

// findImports returns the records of a table, the latest first. A table that is gone has
// none: its rows are gone as well.
func findImports(ctx context.Context, db *driftdb.DB, table string) ([]importRecord, error) {
	for _, needed := range []string{table, "driftdb_imports"} {
		if columns, err := columnsOf(ctx, db, needed); err != nil || len(columns) == 0 {
			return nil, err
		}
	}
	found, err := driftdb.Select[importRecord](ctx, db, `SELECT table_name, file_sha256, file_name, file_size, delimiter, null_text,
		types, rows, done, started_at, updated_at FROM main.driftdb_imports WHERE table_name = ? COLLATE NOCASE ORDER BY updated_at DESC`, table)
	for i := range found {
		found[i].stored = true
	}
	return found, err
}

// save records, in the transaction that has the last of these rows, that so many rows of
// the file are in the table.
func (r *importRecord) save(ctx context.Context, tx *driftdb.Tx, rows int64, done bool) error {
	now := time.Now()
	if r.stored {
		res, err := tx.Exec(ctx, `UPDATE main.driftdb_imports SET rows = ?, done = ?, updated_at = max(?, updated_at)
			WHERE table_name = ? AND file_sha256 = ? AND rows = ? AND NOT done`, rows, done, now, r.Table, r.SHA256, r.Rows)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, errors.New("the import's row in driftdb_imports was changed meanwhile by somebody else; nothing of this transaction is in"))
		}
		return nil
	}
	// What another import of the file had come to is no longer of interest.
	if _, err := tx.Exec(ctx, `DELETE FROM main.driftdb_imports WHERE table_name = ? COLLATE NOCASE AND (file_sha256 = ? OR file_name = ? AND NOT done)`,
		r.Table, r.SHA256, r.File); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "INSERT INTO main.driftdb_imports VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		r.Table, r.SHA256, r.File, r.Size, r.Delimiter, r.Null, r.Types, rows, done, now, now)
	return err
}

// disown makes the record one of the contents that were read, which no other file has: so no
// file continues it.
func (r *importRecord) disown(ctx context.Context, db *driftdb.DB, sum string) error {
	if !r.stored {
		return nil
	}
	_, err := db.Exec(ctx, "UPDATE OR REPLACE main.driftdb_imports SET file_sha256 = ? WHERE table_name = ? AND file_sha256 = ?", sum, r.Table, r.SHA256)
	return err
}

// saved is told that the transaction was committed.
func (r *importRecord) saved(rows int64, done bool) { r.Rows, r.Done, r.stored = rows, done, true }

// decide returns the record to go on with, of those of the table, for a file that fresh
// describes: fresh itself, or that of an import that was interrupted. A file that is in the
// table already is refused unless it was said what to do.
func (o *importOptions) decide(records []importRecord, fresh importRecord, path string) (importRecord, error) {
	if o.again {
		return fresh, nil
	}
	var stopped *importRecord // an import that was not of this file
	for i := range records {
		r := &records[i]
		switch {
		case r.SHA256 == fresh.SHA256 && o.resume:
			return *r, o.continues(r)
		case r.SHA256 == fresh.SHA256 && r.Done:
			return fresh, hinted{
				fmt.Errorf("%s is in table %q already: %s at %s", path, r.Table, plural(r.Rows, "row", "rows"), stamp(r.UpdatedAt)),
				"--again imports it once more",
			}
		case r.SHA256 == fresh.SHA256:
			return fresh, hinted{
				fmt.Errorf("%s is in table %q already up to its row %s: an import stopped there at %s", path, r.Table, count(r.Rows), stamp(r.UpdatedAt)),
				"--resume goes on after that row; --again imports all of it once more",
			}
		case !r.Done && stopped == nil && (o.resume || r.File == fresh.File):
			stopped = r
		}
	}
	if stopped == nil {
		return fresh, nil
	}
	return fresh, stopped.other(fresh, path)
}

// other returns the error for a file that is not the one whose import has stopped.
func (r *importRecord) other(fresh importRecord, path string) error {
	hint := "--again imports all of it; what is in the table stays, so delete those rows first if they are in the file, too"
	if r.File != fresh.File {
		return hinted{fmt.Errorf("the import into table %q that stopped was of %q, not of %s", r.Table, r.File, path), "name that file, or leave out --resume"}
	}
	how := fmt.Sprintf("it had %s and has %s", plural(r.Size, "byte", "bytes"), count(fresh.Size))
	if r.Size == fresh.Size {
		how = "it is as long, but not the same"
	}
	return hinted{fmt.Errorf("%s was changed after its import into table %q had stopped at row %s: %s", path, r.Table, count(r.Rows), how), hint}
}

// continues refuses options that differ from those with which an import began.
func (o *importOptions) continues(r *importRecord) error {
	null := func(s *string) string {
		if s == nil {
			return "none"
		}
		return fmt.Sprintf("%q", *s)
	}
	switch {
	case o.delimiter != 0 && string(o.delimiter) != r.Delimiter:
		return usagef("the import began with --delimiter %s; leave --delimiter out to go on with it", delimiterName([]rune(r.Delimiter)[0]))
	case o.null != nil && null(o.null) != null(r.Null):
		return usagef("the import began with --null %s; leave --null out to go on with it", null(r.Null))
	case o.typesGiven && o.types != r.Types:
		return usagef("the import began with --types %s; leave --types out to go on with it", r.Types)
	}
	return nil
}
