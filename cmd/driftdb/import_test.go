package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
)

// changing is an import of a file of 20,000 rows that has begun.
type changing struct {
	app  *app
	path string
	db   *driftdb.DB
	at   time.Time // when the file was written
	in   *input
}

func changingImport(t *testing.T) *changing {
	c := &changing{app: &app{stderr: terminal.New(io.Discard)}, path: filepath.Join(t.TempDir(), "rows.csv"), at: time.Now().Add(-time.Hour)}
	c.write(t, "before", c.at)
	db, err := driftdb.Open(t.Context(), driftdb.Config{Name: "t", Path: ":memory:"})
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	c.db = db
	check(t, c.open(t, importOptions{}))
	return c
}

// write changes the file, which stays as long as it was.
func (c *changing) write(t *testing.T, word string, at time.Time) {
	t.Helper()
	check(t, os.WriteFile(c.path, []byte("id,word\n"+strings.Repeat("1,"+word+"\n", 20_000)), 0o600))
	check(t, os.Chtimes(c.path, at, at))
}

// open begins the import, or goes on with it.
func (c *changing) open(t *testing.T, o importOptions) error {
	t.Helper()
	o.table, o.batch, o.batchGiven, o.types = "t", 1000, true, "text"
	in, err := c.app.openInput(t.Context(), &o, c.path)
	check(t, err)
	t.Cleanup(func() { check(t, in.Close()) })
	c.in = in
	return c.app.position(t.Context(), &o, c.in, c.db)
}

// load loads the rows, and calls then when so many of them are committed.
func (c *changing) load(t *testing.T, after int64, then func()) (int64, error) {
	t.Helper()
	l := c.in.loader
	l.committed = func(rows int64) {
		if rows == after {
			then()
		}
	}
	return l.load(t.Context())
}

func (c *changing) words(t *testing.T) string {
	t.Helper()
	words, err := driftdb.Select[string](t.Context(), c.db, "SELECT word || ' ' || count(*) FROM t GROUP BY word")
	check(t, err)
	return strings.Join(words, ", ")
}

// TestImportChangedWhileRead: the rows of a file that somebody writes while it is read are not
// committed, so the import goes on with the file as it was, and with no other.
func TestImportChangedWhileRead(t *testing.T) {
	c := changingImport(t)
	rows, err := c.load(t, 5000, func() { c.write(t, "behind", c.at.Add(time.Second)) })
	if err == nil || !strings.Contains(err.Error(), "was changed while it was read; the rows in the table are those of the file as it was") || rows != 5000 {
		t.Errorf("%d rows, %v", rows, err)
	}
	if err := c.open(t, importOptions{resume: true}); err == nil || !strings.Contains(err.Error(), "it is as long, but not the same") {
		t.Error(err)
	}
	c.write(t, "before", c.at)
	check(t, c.open(t, importOptions{resume: true}))
	rows, err = c.load(t, 0, nil)
	if got := c.words(t); err != nil || rows != 20_000 || got != "before 20000" {
		t.Errorf("%d rows, %v, the table has %s", rows, err, got)
	}
}

// TestImportChangedUnseen: if the times of a file do not tell that it was changed while it was
// read, its contents do. Then nothing goes on with the import, not even the file as it was.
func TestImportChangedUnseen(t *testing.T) {
	c := changingImport(t)
	rows, err := c.load(t, 5000, func() { c.write(t, "behind", c.at) })
	if err == nil || !strings.Contains(err.Error(), "are not those of one version of it") || rows != 20_000 {
		t.Errorf("%d rows, %v", rows, err)
	}
	for _, word := range []string{"behind", "before"} {
		c.write(t, word, c.at)
		if err := c.open(t, importOptions{resume: true}); err == nil || !strings.Contains(err.Error(), "it is as long, but not the same") {
			t.Errorf("%s: %v", word, err)
		}
	}
}

// TestImportReplaced: a file that another one replaces between two readings of it is not
// taken for it.
func TestImportReplaced(t *testing.T) {
	c := changingImport(t)
	check(t, os.Rename(c.path, c.path+".old"))
	c.write(t, "before", c.at)
	for _, read := range []func() error{
		func() error { _, err := c.in.measure(t.Context()); return err },
		func() error { return c.in.infer(t.Context()) },
		func() error {
			c.in.loader.record.Delimiter = ";"
			return c.in.pass(t.Context())
		},
	} {
		if err := read(); err == nil || !strings.Contains(err.Error(), "was changed while it was read") {
			t.Error(err)
		}
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
		db: db, table: "t", csv: csv, batch: 1, unchanged: func(bool) error { return nil },
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
