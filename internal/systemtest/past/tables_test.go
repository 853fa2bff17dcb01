package past_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// shapes are tables of many kinds, with rows that are easily changed by a copy.
const shapes = `
	CREATE TABLE authors(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE COLLATE NOCASE, boss REFERENCES authors);
	CREATE TABLE "the ""books"""(title, author INTEGER NOT NULL REFERENCES authors(id) ON DELETE CASCADE, pages INT CHECK(pages > 0),
		half AS (pages / 2) STORED, twice AS (pages * 2), PRIMARY KEY(title, author)) WITHOUT ROWID;
	CREATE TABLE keyless(a, b REAL, rowid);
	CREATE TABLE strict_one(i INT PRIMARY KEY, x ANY) STRICT;
	CREATE TABLE empty(x);
	CREATE INDEX "by ""pages""" ON "the ""books"""(pages DESC) WHERE pages > 10;
	CREATE UNIQUE INDEX [by half] ON keyless(abs(b), a);
	CREATE INDEX plain ON keyless(rowid);
	INSERT INTO authors(id, name) VALUES(5, 'ada'), (70, 'bob'), (71, 'eve');
	UPDATE authors SET boss = 5 WHERE id = 70;
	DELETE FROM authors WHERE id = 71;
	INSERT INTO "the ""books"""(title, author, pages) VALUES('one', 5, 11), (x'00ff', 70, 3), (1.5, 5, 100), (NULL, 5, 1) ON CONFLICT DO NOTHING;
	INSERT INTO keyless(_rowid_, a, b, rowid) VALUES(-3, 'text', 5, 'r'), (9223372036854775807, x'', 9e15, NULL), (17, CAST(x'ff00fe' AS TEXT), 0.1, 1), (18, 1, NULL, 2.0);
	INSERT INTO strict_one VALUES(1, '1'), (2, 1), (3, 1.0), (4, NULL);`

var shapeNames = []string{"AUTHORS", `the "books"`, "keyless", "strict_one", "empty"}

// shaped is an open database with these tables, flushed.
func shaped(t *testing.T) (driftdb.Config, *driftdb.DB) {
	t.Helper()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	for _, statement := range strings.SplitAfter(strings.ReplaceAll(shapes, ", (NULL, 5, 1) ON CONFLICT DO NOTHING", ""), ";") {
		systemtest.Exec(t, db, statement)
	}
	systemtest.Check(t, db.Flush(t.Context()))
	return cfg, db
}

// TestTablesNewFile: all tables, copied into a new file, are the database: rows, rowids,
// storage classes, indexes, counters.
func TestTablesNewFile(t *testing.T) {
	cfg, db := shaped(t)
	files := temporary(t)
	path := filepath.Join(filepath.Dir(cfg.Path), "copy.sqlite")
	res, err := db.Backup().RestoreTables(t.Context(), path, driftdb.TablesOptions{Tables: append(shapeNames, "Keyless")})
	systemtest.Check(t, err)
	if len(res.Tables) != 5 || res.Tables[0] != (driftdb.RestoredTable{Name: "authors", As: "authors", Rows: 2}) || res.Sequence != db.Sequence() || res.Time.IsZero() {
		t.Errorf("%+v", res)
	}
	dbtest.Equal(t, cfg.Path, path)
	if left := files(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	list, err := os.ReadDir(filepath.Dir(path))
	systemtest.Check(t, err)
	if i := slices.IndexFunc(list, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "copy.sqlite-") }); i >= 0 {
		t.Errorf("left beside the file: %s", list[i])
	}
}

// rowsOf are the rows of a table, exactly.
func rowsOf(t *testing.T, path, table string) string {
	t.Helper()
	c, err := sqlite.Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
	systemtest.Check(t, err)
	defer c.Close()
	shape, err := c.Table(table)
	systemtest.Check(t, err)
	var columns []string
	if shape.RowID != "" {
		columns = append(columns, shape.RowID)
	}
	for _, column := range shape.Columns {
		columns = append(columns, "quote("+sqlite.Quote(column.Name)+")", "typeof("+sqlite.Quote(column.Name)+")")
	}
	var b strings.Builder
	systemtest.Check(t, c.Each("SELECT concat_ws('|', "+strings.Join(columns, ", ")+") FROM main."+sqlite.Quote(table)+" ORDER BY 1", func(st *sqlite.Stmt) error {
		b.WriteString(st.Text(0) + "\n")
		return nil
	}))
	return b.String()
}

// objects are the names of what is in a database.
func objects(t *testing.T, path string) string {
	t.Helper()
	c, err := sqlite.Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
	systemtest.Check(t, err)
	defer c.Close()
	text, err := c.Text("SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_driftdb\\_%' ESCAPE '\\' ORDER BY name)")
	systemtest.Check(t, err)
	return text
}

// TestTablesBeside: in a database that is there, a copy has a name that says when it is
// from; it overwrites nothing, and all copies are there or none.
func TestTablesBeside(t *testing.T) {
	ctx := t.Context()
	_, db := shaped(t)
	then := db.Sequence()
	systemtest.Exec(t, db, "UPDATE authors SET name = 'nobody ' || id")
	systemtest.Check(t, db.Flush(ctx))
	path := filepath.Join(t.TempDir(), "other.sqlite")
	c, err := sqlite.Open(path, sqlite.Options{KeepJournal: true})
	systemtest.Check(t, err)
	systemtest.Check(t, errors.Join(c.Exec("CREATE TABLE authors(x); CREATE INDEX plain ON authors(x); CREATE VIEW taken AS SELECT 1"), c.Close()))
	b := db.Backup()
	at := driftdb.Point{Sequence: then}
	res, err := b.RestoreTables(ctx, path, driftdb.TablesOptions{At: at, Tables: shapeNames})
	systemtest.Check(t, err)
	if res.Sequence != then {
		t.Errorf("%+v", res)
	}
	view := view(t, b, at)
	for _, copied := range res.Tables {
		if rowsOf(t, path, copied.As) != rowsOf(t, fileOf(t, view), copied.Name) {
			t.Errorf("%+v: %s\nwant %s", copied, rowsOf(t, path, copied.As), rowsOf(t, fileOf(t, view), copied.Name))
		}
	}
	c, err = sqlite.Open(path, sqlite.Options{KeepJournal: true})
	systemtest.Check(t, err)
	defer c.Close()
	if mode := systemtest.Must(c.Text("PRAGMA journal_mode")); mode != "delete" {
		t.Errorf("the journal mode is %s", mode)
	}
	if n := systemtest.Must(c.Int("SELECT count(*) FROM pragma_foreign_key_list('the \"books\"_at_" + itoa(then) + "') WHERE \"table\" = 'authors_at_" + itoa(then) + "'")); n != 1 {
		t.Error("the copies do not refer to each other")
	}
	before := objects(t, path)
	if strings.Count(before, "_at_"+itoa(then)) < 8 {
		t.Errorf("there are %s", before)
	}
	for _, o := range []driftdb.TablesOptions{
		{At: at, Tables: []string{"authors"}}, {Tables: []string{"keyless", "authors"}, At: at}, {Tables: []string{"authors"}, As: "TAKEN"},
		{Tables: []string{"authors"}, As: "authors"},
	} {
		if _, err := b.RestoreTables(ctx, path, o); err == nil || !strings.Contains(err.Error(), "exists already") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if after := objects(t, path); after != before {
		t.Errorf("after the errors there are %s", after)
	}
	systemtest.Must(b.RestoreTables(ctx, path, driftdb.TablesOptions{Tables: []string{"authors"}, As: "now"}))
	if !strings.Contains(rowsOf(t, path, "now"), "nobody 5") {
		t.Errorf("now: %s", rowsOf(t, path, "now"))
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// TestTablesCaptured: what is copied into a database of DriftDB's is captured and uploaded;
// a program that has it open keeps the copy out.
func TestTablesCaptured(t *testing.T) {
	ctx := t.Context()
	cfg, db := shaped(t)
	then := db.Sequence()
	systemtest.Exec(t, db, "DELETE FROM authors")
	systemtest.Check(t, db.Flush(ctx))
	b := db.Backup()
	o := driftdb.TablesOptions{At: driftdb.Point{Sequence: then}, Tables: shapeNames}
	if _, err := b.RestoreTables(ctx, cfg.Path, o); !errors.Is(err, driftdb.ErrLocked) {
		t.Errorf("while it is open: %v", err)
	}
	systemtest.Check(t, db.Close())
	res, err := b.RestoreTables(ctx, cfg.Path, o)
	systemtest.Check(t, err)
	again := systemtest.Open(t, cfg) // compares at the end
	systemtest.Check(t, again.Flush(ctx))
	if m := again.Metrics(); m.Barriers != 0 {
		t.Errorf("%d barriers: the copy was not captured", m.Barriers)
	}
	past := view(t, b, driftdb.Point{Sequence: then})
	latest := view(t, b, driftdb.Point{})
	for _, copied := range res.Tables {
		if got, want := rowsOf(t, fileOf(t, latest), copied.As), rowsOf(t, fileOf(t, past), copied.Name); got != want {
			t.Errorf("%+v: %s\nwant %s", copied, got, want)
		}
	}
	captured := 0
	for c, err := range again.Changes(ctx, driftdb.ChangeQuery{From: then + 1}) {
		systemtest.Check(t, err)
		if c.Operation == driftdb.OperationInsert && strings.HasSuffix(c.Table, "_at_"+itoa(then)) {
			captured++
		}
		if c.Operation == driftdb.OperationBarrier {
			t.Errorf("a barrier: %s", c.Reason)
		}
	}
	if captured != 2+3+4+4 {
		t.Errorf("%d rows were captured", captured)
	}
}

// TestTablesRefused: what cannot be copied is an error that says why, and leaves nothing.
func TestTablesRefused(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE a(x)")
	systemtest.Exec(t, db, "CREATE TABLE b(x)")
	systemtest.Exec(t, db, "CREATE VIEW v AS SELECT * FROM a")
	systemtest.Exec(t, db, "CREATE VIRTUAL TABLE f USING fts5(x)")
	systemtest.Check(t, db.Flush(ctx))
	b, dir := db.Backup(), t.TempDir()
	files := temporary(t)
	path := filepath.Join(dir, "new.sqlite")
	for want, o := range map[string]driftdb.TablesOptions{
		"no such table: c; at this point there are a, b": {Tables: []string{"a", "c"}},
		"v is a view":                        {Tables: []string{"v"}},
		"f is a virtual table":               {Tables: []string{"f"}},
		"f_data is a table of a virtual one": {Tables: []string{"f_data"}},
		"no table is named":                  {},
		"one table only":                     {Tables: []string{"a", "b"}, As: "c"},
		"the history ends at":                {Tables: []string{"a"}, At: driftdb.Point{Sequence: 1000}},
		"Sequence -1 is negative":            {Tables: []string{"a"}, At: driftdb.Point{Sequence: -1}},
		"reserved for internal use":          {Tables: []string{"a"}, As: "sqlite_x"},
	} {
		if _, err := b.RestoreTables(ctx, path, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want %s", o, err, want)
		}
	}
	interrupted, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := b.RestoreTables(interrupted, path, driftdb.TablesOptions{Tables: []string{"a"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	systemtest.Check(t, os.WriteFile(filepath.Join(dir, "text"), []byte(strings.Repeat("no database ", 1000)), 0o600))
	if _, err := b.RestoreTables(ctx, filepath.Join(dir, "text"), driftdb.TablesOptions{Tables: []string{"a"}}); !errors.Is(err, driftdb.ErrCorrupt) {
		t.Errorf("into a text: %v", err)
	}
	if _, err := b.RestoreTables(ctx, ":memory:", driftdb.TablesOptions{Tables: []string{"a"}}); err == nil {
		t.Error("into memory")
	}
	list, err := os.ReadDir(dir)
	systemtest.Check(t, err)
	if left := files(); len(list) != 1 || len(left) > 0 {
		t.Errorf("left behind: %v, %q", list, left)
	}
}
