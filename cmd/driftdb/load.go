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
	batch     int              // rows per transaction
	committed func(rows int64) // called after each transaction with the rows so far
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

// load returns the number of rows committed, even with an error.
func (l *loader) load(ctx context.Context) (rows int64, err error) {
	if err := l.prepareTable(ctx); err != nil {
		return 0, err
	}
	for more := true; more; {
		var batch []record
		var readErr error
		// A whole transaction is read before it begins: a slow pipe must not
		// block the writer.
		batch, more, readErr = l.read(ctx)
		if len(batch) > 0 {
			if err := l.db.Tx(ctx, func(tx *driftdb.Tx) error { return l.insert(ctx, tx, batch) }); err != nil {
				return rows, err
			}
			rows += int64(len(batch))
			l.committed(rows)
		}
		if readErr != nil {
			return rows, readErr
		}
	}
	return rows, nil
}

// record is a row and its line number.
type record struct {
	fields []string
	line   int
}

// read reads the rows of the next transaction. With an error it returns the
// rows before it.
func (l *loader) read(ctx context.Context) (batch []record, more bool, err error) {
	for bytes := 0; len(batch) < l.batch && bytes < maxBatchBytes; {
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
				args = append(args, f)
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
	return "INSERT INTO main." + quote(l.table) + " (" + l.columns("") + ") VALUES " + row + strings.Repeat(","+row, rows-1)
}

// columns lists the header's names, each followed by the declaration.
func (l *loader) columns(declaration string) string {
	var b strings.Builder
	for i, name := range l.csv.header {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(name) + declaration)
	}
	return b.String()
}

// prepareTable creates the table if it is missing. An existing one must have
// the header's columns, in any order.
func (l *loader) prepareTable(ctx context.Context) error {
	have, err := driftdb.Select[string](ctx, l.db, "SELECT name FROM pragma_table_xinfo(?, 'main') WHERE hidden = 0", l.table)
	if err != nil {
		return err
	}
	if len(have) == 0 {
		// TEXT keeps a field as it is; a CSV file has no other types.
		if _, err := l.db.Exec(ctx, "CREATE TABLE main."+quote(l.table)+" ("+l.columns(" TEXT")+")"); err != nil {
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
	case strings.HasPrefix(lower, "_driftdb_"), strings.HasPrefix(lower, "sqlite_"):
		return fmt.Errorf("--table %q is reserved for DriftDB or SQLite; choose another name", name)
	}
	return nil
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
