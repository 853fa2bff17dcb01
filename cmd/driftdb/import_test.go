package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
)

// TestImportChangedWhileRead: a file that somebody writes while it is read is not taken for
// whole, and cannot be resumed by mistake.
func TestImportChangedWhileRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows.csv")
	write := func(word string) {
		check(t, os.WriteFile(path, []byte("id,word\n"+strings.Repeat("1,"+word+"\n", 20_000)), 0o600))
	}
	write("before")
	var stderr strings.Builder
	a := &app{stderr: terminal.New(&stderr)}
	o := &importOptions{table: "t", batch: 1000, types: "text"}
	ctx := t.Context()
	in, err := a.openInput(ctx, o, path)
	check(t, err)
	defer in.Close()
	write("behind") // as long, and only its beginning has been read
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "t", Path: ":memory:"})
	check(t, err)
	defer db.Close()
	check(t, a.position(ctx, o, in, db))
	rows, err := a.load(ctx, in)
	if err == nil || !strings.Contains(err.Error(), "was changed while it was read") || rows != 20_000 {
		t.Errorf("%d rows, %v", rows, err)
	}
	records, err := findImports(ctx, db, "T")
	check(t, err)
	if len(records) != 1 || records[0].Done || records[0].Rows != 20_000 {
		t.Errorf("%+v", records)
	}
	again, err := a.openInput(ctx, &importOptions{resume: true, table: "t"}, path)
	check(t, err)
	defer again.Close()
	err = a.position(ctx, &importOptions{resume: true, table: "t", batch: 1}, again, db)
	if err == nil || !strings.Contains(err.Error(), "it is as long, but not the same") {
		t.Error(err)
	}
}

// TestImportRecordChanged: an import whose record somebody else has changed stops, and the
// rows of its transaction are not in.
func TestImportRecordChanged(t *testing.T) {
	ctx := t.Context()
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "t", Path: ":memory:"})
	check(t, err)
	defer db.Close()
	csv, err := newCSVReader("file", strings.NewReader("a\n1\n2\n3\n"), ',')
	check(t, err)
	l := &loader{
		db: db, table: "t", csv: csv, batch: 1, unchanged: func() error { return nil },
		record: &importRecord{Table: "t", SHA256: "00", File: "file", Delimiter: ",", Types: "text"},
	}
	l.committed = func(rows int64) {
		if rows == 2 {
			_, err := db.Exec(ctx, "UPDATE driftdb_imports SET rows = 7")
			check(t, err)
		}
	}
	rows, err := l.load(ctx)
	if err == nil || !strings.Contains(err.Error(), "was changed meanwhile") || rows != 2 {
		t.Errorf("%d rows, %v", rows, err)
	}
	there, err := driftdb.Select[int64](ctx, db, "SELECT count(*) FROM t")
	if fmt.Sprint(there, err) != "[2] <nil>" {
		t.Errorf("%v rows, %v", there, err)
	}
}
