package past_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// person is a row of the tests' table.
type person struct {
	driftdb.Base
	Name string `db:",index"`
	Age  *int64
}

// temporary makes a new folder the one for temporary files, and returns what is in it.
func temporary(t *testing.T) (files func() []string) {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, folder)
	}
	return func() (found []string) {
		err := filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				found = append(found, name)
			}
			return err
		})
		systemtest.Check(t, err)
		return found
	}
}

// view opens a view that is closed when the test ends.
func view(t *testing.T, b *driftdb.Backup, p driftdb.Point) *driftdb.DB {
	t.Helper()
	v, err := b.View(t.Context(), p)
	systemtest.Check(t, err)
	t.Cleanup(func() { systemtest.Check(t, v.Close()) })
	return v
}

// fileOf is where a database's file is.
func fileOf(t *testing.T, db *driftdb.DB) string {
	t.Helper()
	file, err := driftdb.Select[string](t.Context(), db, "SELECT file FROM pragma_database_list WHERE name = 'main'")
	systemtest.Check(t, err)
	return file[0]
}

// names are the names in a view, in order.
func names(t *testing.T, db *driftdb.DB) string {
	t.Helper()
	list, err := driftdb.Select[string](t.Context(), db, "SELECT name FROM people ORDER BY name")
	systemtest.Check(t, err)
	return strings.Join(list, " ")
}

// TestView: a view is the database as it was at a sequence or a time, with everything that
// reads; and a point has one state, which later changes do not touch.
func TestView(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	cfg.EncryptionKeys = []string{systemtest.KeyOf("view")}
	db := systemtest.Open(t, cfg)
	people := systemtest.Define[person](t, db, "people")
	for _, name := range []string{"ada", "bob", "eve"} {
		systemtest.Must(people.Create(ctx, person{Name: name}))
	}
	then, at := db.Sequence(), time.Now()
	systemtest.Eventually(t, "the next millisecond", func() bool { return time.Now().UnixMilli() > at.UnixMilli() })
	systemtest.Exec(t, db, "UPDATE people SET name = 'nobody'")
	systemtest.Exec(t, db, "ALTER TABLE people ADD COLUMN height REAL")
	systemtest.Check(t, db.Flush(ctx))

	b, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys})
	systemtest.Check(t, err)
	byTime, bySequence, latest := view(t, b, driftdb.Point{Time: at}), view(t, b, driftdb.Point{Sequence: then}), view(t, db.Backup(), driftdb.Point{})
	for _, v := range []*driftdb.DB{byTime, bySequence} {
		if names(t, v) != "ada bob eve" || v.Sequence() != then {
			t.Errorf("the view of sequence %d has %s, and sequence %d", then, names(t, v), v.Sequence())
		}
	}
	if names(t, latest) != "nobody nobody nobody" || latest.Sequence() != db.Sequence() {
		t.Errorf("the latest view has %s", names(t, latest))
	}
	dbtest.Equal(t, cfg.Path, fileOf(t, latest))

	past := systemtest.Define[person](t, bySequence, "people")
	rows, err := past.Find(ctx, driftdb.Query{Where: driftdb.Where{"name": "bob"}})
	if err != nil || len(rows) != 1 {
		t.Errorf("repository: %v, %v", rows, err)
	}
	systemtest.Check(t, bySequence.IntegrityCheck(ctx))
	var changes, want []int64
	changes = systemtest.Sequences(t, bySequence.Changes(ctx, driftdb.ChangeQuery{}))
	want = systemtest.Sequences(t, b.Changes(ctx, driftdb.ChangeQuery{To: then}))
	if len(changes) == 0 || !reflect.DeepEqual(changes, want) {
		t.Errorf("the view's changes are %v, and were %v", changes, want)
	}
	if m := bySequence.Metrics(); m.LatestSequence != then || m.DBSizeBytes == 0 || m.PendingChanges != 0 {
		t.Errorf("metrics: %+v", m)
	}
	if info, err := bySequence.Backup().Info(ctx); err != nil || info.Sequence != db.Sequence() {
		t.Errorf("the backup of a view: %+v, %v", info, err)
	}
}

// TestViewOnlyReads: whatever would write is ErrReadOnly, and says that it is a view.
func TestViewOnlyReads(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	people := systemtest.Define[person](t, db, "people")
	systemtest.Must(people.Create(ctx, person{Name: "ada"}))
	systemtest.Check(t, db.Flush(ctx))
	v := view(t, db.Backup(), driftdb.Point{})
	past, undefined := systemtest.Define[person](t, v, "people"), view(t, db.Backup(), driftdb.Point{})
	const insert = "INSERT INTO people(id, name) VALUES('x', 'x')"
	for name, fn := range map[string]func() error{
		"Create": func() error { return systemtest.ErrorOf(past.Create(ctx, person{Name: "x"})) },
		"Update": func() error { return systemtest.ErrorOf(past.Update(ctx, driftdb.All, driftdb.Set{"name": "x"})) },
		"Delete": func() error { return systemtest.ErrorOf(past.Delete(ctx, driftdb.All)) },
		"Exec":   func() error { return systemtest.ErrorOf(v.Exec(ctx, insert)) },
		"Tx":     func() error { return v.Tx(ctx, func(*driftdb.Tx) error { return nil }) },
		"ReadTx": func() error {
			return v.ReadTx(ctx, func(tx *driftdb.Tx) error { return systemtest.ErrorOf(tx.Exec(ctx, insert)) })
		},
		"Select":     func() error { return systemtest.ErrorOf(driftdb.Select[string](ctx, v, insert+" RETURNING id")) },
		"SQL":        func() error { return systemtest.ErrorOf(v.SQL().Exec(insert)) },
		"SQL, DDL":   func() error { return systemtest.ErrorOf(v.SQL().Exec("DROP TABLE people")) },
		"query_only": func() error { return systemtest.ErrorOf(v.SQL().Exec("PRAGMA query_only=OFF; " + insert)) },
		"Flush":      func() error { return v.Flush(ctx) },
		"Snapshot":   func() error { return systemtest.ErrorOf(v.Snapshot(ctx)) },
		"Vacuum":     func() error { return v.Vacuum(ctx) },
		"Define":     func() error { return systemtest.ErrorOf(driftdb.Define[person](ctx, v, "others")) },
		"Define more": func() error {
			return systemtest.ErrorOf(undefined.Define(ctx, "people", driftdb.Schema{driftdb.Text("name").Required(), driftdb.Integer("age"), driftdb.Text("more")}))
		},
		"CollectGarbage": func() error {
			_, _, err := v.CollectGarbage(ctx)
			return err
		},
	} {
		if err := fn(); !errors.Is(err, driftdb.ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "Config.ReadOnly") {
			t.Errorf("%s does not say that it is a view: %v", name, err)
		}
	}
	if names(t, v) != "ada" {
		t.Errorf("the view has %s", names(t, v))
	}
}

// TestViewIsGone: a view's file is the user's alone, and gone when it is closed, or could
// not be opened.
func TestViewIsGone(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	first := db.Sequence()
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, db.Flush(ctx))
	files := temporary(t)
	b := db.Backup()
	one, two := view(t, b, driftdb.Point{Sequence: first}), view(t, b, driftdb.Point{})
	if systemtest.Count(t, one, "t") != 3 || systemtest.Count(t, two, "t") != 6 || fileOf(t, one) == fileOf(t, two) {
		t.Error("two views disturb each other")
	}
	if runtime.GOOS != "windows" {
		for file, want := range map[string]fs.FileMode{fileOf(t, one): 0o600, filepath.Dir(fileOf(t, one)): 0o700} {
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v", file, info, err)
			}
		}
	}
	rows, err := one.SQL().QueryContext(ctx, "SELECT id FROM t")
	systemtest.Check(t, err)
	defer rows.Close()
	systemtest.Check(t, one.Close())
	if _, err := driftdb.Select[int](ctx, one, "SELECT 1"); !errors.Is(err, driftdb.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if systemtest.Count(t, two, "t") != 6 {
		t.Error("closing one view disturbs another")
	}
	systemtest.Check(t, two.Close())
	for _, p := range []driftdb.Point{{Sequence: db.Sequence() + 1}, {Time: time.Unix(1, 0)}} {
		if _, err := b.View(ctx, p); !errors.Is(err, driftdb.ErrNoBackup) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, p := range []driftdb.Point{{Sequence: -1}, {Sequence: 1, Time: time.Now()}} {
		if _, err := b.View(ctx, p); err == nil {
			t.Errorf("%+v is a point", p)
		}
	}
	interrupted, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := b.View(interrupted, driftdb.Point{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if left := files(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
