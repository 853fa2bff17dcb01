package main

import (
	"context"
	"errors"
	"io/fs"

	"github.com/driftdb/driftdb-go"
)

// tablesRestored is the result of a restore of tables.
type tablesRestored struct {
	Database string          `json:"database"`
	File     string          `json:"file"`
	Sequence int64           `json:"sequence"`
	Time     instant         `json:"time,omitzero"`
	Tables   []tableRestored `json:"tables"`
}

type tableRestored struct {
	Table string `json:"table"`
	As    string `json:"as"`
	Rows  int64  `json:"rows"`
}

// runRestoreTables copies tables as they were into another database.
func (a *app) runRestoreTables(ctx context.Context, o *restoreOptions) error {
	if o.as != "" && len(o.tables) > 1 {
		return usagef("--as names the copy of one table, and there are several --table; leave it out")
	}
	if err := checkTarget(o.into, true); err != nil {
		return err
	}
	b, err := a.open(ctx, o.place)
	if err != nil {
		return err
	}
	bar := a.stderr.Bar("restoring", -1)
	r, err := b.RestoreTables(ctx, o.into, driftdb.TablesOptions{
		Tables: o.tables, As: o.as, At: o.at.Point, OnProgress: onBar(bar),
	})
	bar.Stop()
	if err != nil {
		return err
	}
	result := tablesRestored{Database: o.name, File: o.into, Sequence: r.Sequence, Time: instant(r.Time)}
	for _, t := range r.Tables {
		result.Tables = append(result.Tables, tableRestored{t.Name, t.As, t.Rows})
	}
	if a.json {
		return a.stdout.JSON(result)
	}
	for _, t := range r.Tables {
		if err := a.stdout.Printf("restored table %s of %s to %s as %s: sequence %d of %s, %s\n",
			word(t.Name), o.name, o.into, word(t.As), r.Sequence, stamp(r.Time), plural(t.Rows, "row", "rows")); err != nil {
			return err
		}
	}
	return nil
}

// runBack takes back a restore that has replaced a file.
func (a *app) runBack(path string) error {
	kept, err := driftdb.Revert(path)
	if errors.Is(err, fs.ErrNotExist) {
		return hinted{err, "only restore --overwrite keeps a file, until the next one"}
	}
	if err != nil {
		return err
	}
	if kept != "" {
		a.tellKept(path, kept)
	}
	return a.report(struct {
		File     string `json:"file"`
		Replaced string `json:"replaced,omitempty"`
	}{path, kept}, "%s is what it was before the restore\n", path)
}

// tellKept says where a replaced file is, and how to go back.
func (a *app) tellKept(path, kept string) {
	a.stderr.Printf("note: the file that was there is kept as %s until the next restore --overwrite\n", kept)
	a.stderr.Printf("note: to go back to it: driftdb restore --back --out %s\n", word(path))
}
