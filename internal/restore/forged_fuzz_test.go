package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// patience is what a restore has; a second later it must have ended.
const patience = 500 * time.Millisecond

// FuzzForged puts SQL of all sorts into a log. Outside of the restored file nothing
// changes, also not what SQLite has for the whole process, and the context is kept.
func FuzzForged(f *testing.F) {
	for _, sql := range forged {
		f.Add(sql)
	}
	for _, sql := range []string{"CREATE TABLE f(a, b, UNIQUE(a, b))", "CREATE VIRTUAL TABLE f USING fts5(a)", "CREATE VIRTUAL TABLE f USING rtree(id, x, y)", "ALTER TABLE t RENAME COLUMN a TO b2",
		"CREATE INDEX i ON t(hex(zeroblob(a + 100000)))", "CREATE TABLE f(a CHECK(a > (SELECT 1)), b AS (abs(a)) STORED)", "CREATE VIEW v AS SELECT * FROM pragma_database_list", "CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO t VALUES(new.id + 1, 1, 1); END",
		"CREATE VIRTUAL TABLE f USING dbstat(main)", "CREATE VIRTUAL TABLE f USING sqlite_dbpage", "CREATE VIRTUAL TABLE f USING fts5vocab('ft', 'row')", "PRAGMA application_id=1", "REINDEX", "ANALYZE", "DROP TABLE t"} {
		f.Add(sql)
	}
	outside := f.TempDir()
	f.Chdir(outside)
	if err := os.WriteFile("neighbour.db", nil, 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if strings.ContainsRune(sql, 0) {
			t.Skip("no text of SQLite's")
		}
		h := newHistory(t)
		h.batch([]change.Entry{statement(createT)}, []change.Entry{insert(1, 1)})
		h.batch([]change.Entry{statement(sql)})
		h.confirm()
		target := filepath.Join(t.TempDir(), "r.db")
		file, err := dbfile.Take(target)
		h.must(err)
		defer file.Release()
		before := world(t, outside)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		began := time.Now()
		_, err = Run(ctx, h.b, Options{File: file})
		if took := time.Since(began); took > patience+5*time.Second {
			t.Errorf("it took %s (%v)", took, err)
		}
		if after := world(t, outside); after != before {
			t.Errorf("outside there was\n%s\nand is\n%s", before, after)
		}
		if _, serr := os.Stat(target); err != nil && !errors.Is(serr, fs.ErrNotExist) {
			t.Errorf("%v, and yet there is a file (%v)", err, serr)
		}
	})
}

// world is what there is outside of a restored file: the folder dir, and what SQLite has
// set for the whole process.
func world(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&out, "%s %x\n", path, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := new(sqlite.Driver).Open(":memory:", sqlite.Options{KeepJournal: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, pragma := range []string{"hard_heap_limit", "soft_heap_limit", "temp_store_directory", "threads", "analysis_limit"} {
		_ = c.Each("PRAGMA "+pragma, func(st *sqlite.Stmt) error {
			fmt.Fprintf(&out, "%s %s\n", pragma, st.Text(0))
			return nil
		})
	}
	return out.String()
}
