package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go"
)

// imported is the result of an import.
type imported struct {
	Database      string  `json:"database"`
	Table         string  `json:"table"`
	Rows          int64   `json:"rows"`
	RowsBefore    int64   `json:"rowsBefore"`
	Seconds       float64 `json:"seconds"`
	RowsPerSecond int64   `json:"rowsPerSecond"`
	Sequence      int64   `json:"sequence"`
	UploadedBytes int64   `json:"uploadedBytes"`
	Objects       int     `json:"objects"`
	StoredBytes   int64   `json:"storedBytes"`
}

// finish uploads the rest and closes the database. With any error it reports what became
// of the rows. An interrupted import no longer waits for the bucket.
func (a *app) finish(ctx context.Context, db *driftdb.DB, path string, in *input, rows int64, err error) error {
	if ctx.Err() != nil {
		return hinted{errors.Join(fmt.Errorf("interrupted: %s in %s; what is not uploaded yet is sent when the database is opened again: %w",
			are(rows), path, context.Cause(ctx)), db.Close()), in.goOn(rows)}
	}
	sent := a.watchUpload(db, nil, func() error { return db.Shutdown(ctx) })
	if err != nil {
		hint := hintFor(err)
		err = fmt.Errorf("%w; %s in %s", err, are(rows), path)
		if hint == "" && rows > 0 && in.sum != "" {
			err = hinted{err, in.goOn(rows)}
		}
	}
	if sent != nil {
		sent = fmt.Errorf("%s safe in %s, but not all of them are in the bucket: %w", are(rows), path, sent)
		if hintFor(sent) == "" {
			sent = hinted{sent, "the rest is uploaded when the database is opened again and the bucket answers"}
		}
	}
	return errors.Join(err, sent)
}

// goOn says how to go on after so many rows.
func (in *input) goOn(rows int64) string {
	if rows == 0 {
		return "the same command begins again"
	}
	if in.sum == "" {
		return fmt.Sprintf("standard input cannot be resumed: to go on, pass the header and the rows after the first %s", count(rows))
	}
	return "the same command with --resume goes on after row " + count(rows)
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
