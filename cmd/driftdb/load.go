package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go"
)

// loader puts the rows of a CSV file into a table.
type loader struct {
	db        *driftdb.DB
	table     string
	csv       *csvReader
	null      *string              // the field that means NULL; nil: none does
	types     []columnType         // of a new table's columns; nil: TEXT
	infer     bool                 // types are to come from the rows of the first transaction
	inferred  []inference          // what types came from
	sampled   int64                // rows that types came from, if not from all
	settled   func()               // called when types are known that were to be inferred
	batch     int                  // rows per transaction
	exact     bool                 // a transaction has that many, however large they are
	record    *importRecord        // is kept in step with the rows; nil: nothing is
	unchanged func(end bool) error // called before rows are committed; end: there are no more in the file
	committed func(rows int64)     // called after each transaction with the rows of the file so far
}

const (
	// maxBatchBytes ends a transaction early, so that neither its rows nor the
	// log's record of them take much memory.
	maxBatchBytes = 8 << 20
	stringHeader  = 16 // memory that a field takes besides its bytes
	// Several rows per statement halve the time; more than these gain almost
	// nothing.
	maxRowsPerInsert   = 64
	maxValuesPerInsert = 1024
)

// before is how many rows of the file an earlier import has loaded.
func (l *loader) before() int64 {
	if l.record == nil {
		return 0
	}
	return l.record.Rows
}

// load returns the number of rows of the file that are in the table, even with an error.
// Rows that an earlier import has loaded must have been skipped.
func (l *loader) load(ctx context.Context) (rows int64, err error) {
	rows = l.before()
	if !l.infer {
		if err := l.prepareTable(ctx); err != nil {
			return rows, err
		}
	}
	if l.record != nil {
		if _, err := l.db.Exec(ctx, createImports); err != nil {
			return rows, err
		}
	}
	for more := true; more; {
		var batch []record
		var readErr error
		// A whole transaction is read before it begins: a slow pipe must not
		// block the writer.
		batch, more, readErr = l.read(ctx)
		if err := l.unchanged(!more && readErr == nil); err != nil {
			return rows, err
		}
		if batch, err = l.fit(ctx, batch); err != nil {
			more, readErr = false, errors.Join(err, readErr)
		}
		done := !more && readErr == nil
		if len(batch) > 0 || done && l.record != nil {
			next := rows + int64(len(batch))
			if err := l.commit(ctx, batch, next, done); err != nil {
				return rows, err
			}
			if rows = next; len(batch) > 0 {
				l.committed(rows)
			}
		}
		if readErr != nil {
			return rows, readErr
		}
	}
	return rows, nil
}

// fit infers types from the first rows, and returns those of later ones that fit them.
func (l *loader) fit(ctx context.Context, batch []record) ([]record, error) {
	if l.infer {
		columns := make([]inference, len(l.csv.header))
		inferTypes(columns, batch, l.null)
		l.setTypes(columns)
		l.infer, l.sampled = false, int64(len(batch))
		l.settled()
		if err := l.prepareTable(ctx); err != nil {
			return nil, err
		}
		return batch, nil
	}
	if l.sampled == 0 {
		return batch, nil
	}
	return l.checkTypes(batch)
}

// commit puts rows into the table. The transaction that has them has the record, too: it
// never tells of other rows than there are.
func (l *loader) commit(ctx context.Context, batch []record, rows int64, done bool) error {
	err := l.db.Tx(ctx, func(tx *driftdb.Tx) error {
		if err := l.insert(ctx, tx, batch); err != nil || l.record == nil {
			return err
		}
		return l.record.save(ctx, tx, rows, done)
	})
	if err == nil && l.record != nil {
		l.record.saved(rows, done)
	}
	return err
}

// record is a row and its line number.
type record struct {
	fields []string
	line   int
}

// read reads the rows of the next transaction. With an error it returns the
// rows before it.
func (l *loader) read(ctx context.Context) (batch []record, more bool, err error) {
	for bytes := 0; len(batch) < l.batch && (l.exact || bytes < maxBatchBytes); {
		if len(batch)%1000 == 0 && ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		fields, err := l.csv.next()
		if err == io.EOF {
			return batch, false, nil
		}
		if err != nil {
			return batch, false, err
		}
		batch = append(batch, record{fields, l.csv.line})
		for _, f := range fields {
			bytes += len(f) + stringHeader
		}
	}
	return batch, true, nil
}

func (l *loader) insert(ctx context.Context, tx *driftdb.Tx, batch []record) error {
	width := len(l.csv.header)
	several := min(maxRowsPerInsert, max(1, maxValuesPerInsert/width))
	query := l.insertion(several)
	args := make([]any, 0, several*width)
	for rows := range slices.Chunk(batch, several) {
		if len(rows) < several {
			query = l.insertion(len(rows))
		}
		args = args[:0]
		for _, r := range rows {
			for _, f := range r.fields {
				if l.null != nil && f == *l.null {
					args = append(args, nil)
				} else {
					args = append(args, f)
				}
			}
		}
		if _, err := tx.Exec(ctx, query, args...); err != nil {
			return fmt.Errorf("%s:%d-%d: %w", l.csv.name, rows[0].line, rows[len(rows)-1].line, err)
		}
	}
	return nil
}

// insertion returns the statement that inserts this many rows.
func (l *loader) insertion(rows int) string {
	row := "(?" + strings.Repeat(",?", len(l.csv.header)-1) + ")"
	return "INSERT INTO main." + quote(l.table) + " (" + l.columns(nil) + ") VALUES " + row + strings.Repeat(","+row, rows-1)
}

// columns lists the header's names, each followed by its type, if there are types.
func (l *loader) columns(types []columnType) string {
	var b strings.Builder
	for i, name := range l.csv.header {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(name))
		if types != nil {
			b.WriteString(" " + string(types[i]))
		}
	}
	return b.String()
}

// prepareTable creates the table if it is missing. An existing one must have
// the header's columns, in any order.
func (l *loader) prepareTable(ctx context.Context) error {
	have, err := columnsOf(ctx, l.db, l.table)
	if err != nil {
		return err
	}
	if len(have) == 0 {
		types := l.types
		if types == nil { // TEXT keeps a field as it is
			types = slices.Repeat([]columnType{typeText}, len(l.csv.header))
		}
		if _, err := l.db.Exec(ctx, "CREATE TABLE main."+quote(l.table)+" ("+l.columns(types)+")"); err != nil {
			return fmt.Errorf("create table %q: %w", l.table, err)
		}
		return nil
	}
	missing, extra := difference(l.csv.header, have), difference(have, l.csv.header)
	if len(missing) == 0 && len(extra) == 0 {
		return nil
	}
	var why []string
	if len(missing) > 0 {
		why = append(why, fmt.Sprintf("the table lacks %q", missing))
	}
	if len(extra) > 0 {
		why = append(why, fmt.Sprintf("the file lacks %q", extra))
	}
	return hinted{
		fmt.Errorf("the columns of table %q differ from those of %s: %s", l.table, l.csv.name, strings.Join(why, ", ")),
		"choose another --table, or change the header to name the table's columns",
	}
}

// columnsOf returns the columns that a table has values in; none if there is no table.
func columnsOf(ctx context.Context, db *driftdb.DB, table string) ([]string, error) {
	return driftdb.Select[string](ctx, db, "SELECT name FROM pragma_table_xinfo(?, 'main') WHERE hidden = 0", table)
}

// difference returns the names of a that b lacks.
func difference(a, b []string) []string {
	var out []string
	for _, name := range a {
		if !slices.ContainsFunc(b, func(other string) bool { return asciiLower(other) == asciiLower(name) }) {
			out = append(out, name)
		}
	}
	return out
}

// checkTable refuses names that no user table can have.
func checkTable(name string) error {
	lower := asciiLower(name)
	switch {
	case name == "", strings.ContainsRune(name, 0):
		return errors.New("--table is empty or has a NUL byte; name a table")
	case strings.HasPrefix(lower, "_driftdb_"), strings.HasPrefix(lower, "sqlite_"), isDriftDBs(lower):
		return fmt.Errorf("--table %q is reserved for DriftDB or SQLite; choose another name", name)
	}
	return nil
}

// isDriftDBs reports whether a table is DriftDB's own although it is captured and restored like
// the user's.
func isDriftDBs(name string) bool { return name == "driftdb_imports" || name == "driftdb_consumers" }

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
