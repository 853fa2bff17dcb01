package jsbucket

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/objstore"
)

const key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

// TestMigrate: a snapshot and the batches after it make the program's database, however
// the objects are stored.
func TestMigrate(t *testing.T) {
	for name, setup := range map[string]func(*program){
		"compressed":                func(*program) {},
		"plain":                     func(p *program) { p.plain = true },
		"encrypted":                 func(p *program) { p.key = key },
		"encrypted, not compressed": func(p *program) { p.key, p.plain = key, true },
		"small batches":             func(p *program) { p.batch = 3 },
		"without names":             func(p *program) { p.root = "nodes/a1b2c3d4e5f6/" },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProgram(t)
			setup(p)
			p.some()
			p.sync()
			p.snapshot()
			base := p.logged
			p.some()
			p.update("posts", `title = 5.0, words = '7'`, `"title":5,"words":"7"`, `title = 'one'`, `{"title":"one"}`) // JavaScript's numbers are REAL
			p.sync()
			res := p.same(Options{})
			if res.Base != base || res.Sequence != p.logged || res.Node != "a1b2c3d4e5f6" || len(res.Notes) > 0 || res.Time.UnixMilli() != p.now {
				t.Errorf("%+v", res)
			}
			if got := fmt.Sprint(res.Tables); got != "[{counts 1} {posts 4} {users 4}]" || res.Rows != 9 || res.Violations != 0 {
				t.Errorf("%s, %d rows", got, res.Rows)
			}
		})
	}
}

// TestSnapshots: which snapshot is used, and where its log begins: the number is in it,
// whatever had been sent by then.
func TestSnapshots(t *testing.T) {
	p := newProgram(t)
	p.some()
	p.sync()
	older := p.snapshot()
	p.some()
	newer := p.snapshot() // ahead of the log
	p.some()
	p.sync()
	if res, _, err := p.migrate(Options{}); err != nil || res.Snapshot != newer || res.Base != 22 || res.Batches != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	if res, _, err := p.migrate(Options{SnapshotOnly: true}); err != nil || res.Sequence != 22 || res.Batches != 0 {
		t.Errorf("the snapshot only: %+v, %v", res, err)
	}
	whole, err := os.ReadFile(p.path)
	ok(t, err)
	schema := bytes.Replace(whole, []byte("CREATE TABLE users("), []byte("CREATE TABLE users)"), 1)
	for what, damaged := range map[string][]byte{"cut": whole[:len(whole)/2], "empty": {}, "a schema that cannot be read": schema} {
		p.put(newer, damaged)
		if res, _, err := p.migrate(Options{}); err != nil || res.Snapshot != older || len(res.Damaged) != 1 {
			t.Errorf("%s: %+v, %v", what, res, err)
		}
	}
	other := newProgram(t)
	other.sql("DROP TABLE _driftdb_log")
	whole, err = os.ReadFile(other.path)
	ok(t, err)
	p.put(newer, whole)
	if res, _, err := p.migrate(Options{}); err != nil || res.Snapshot != older || len(res.Damaged) != 1 {
		t.Errorf("a database of something else: %+v, %v", res, err)
	}
	p.raw(newer, nil) // and not compressed: not encrypted either
	if res, _, err := p.migrate(Options{}); err != nil || res.Snapshot != older || len(res.Damaged) != 1 {
		t.Errorf("no bytes: %+v, %v", res, err)
	}
	p.put(newer, bytes.Repeat([]byte("SQLite format 3\x00"), 1000))
	if res := p.same(Options{}); res.Snapshot != older || len(res.Damaged) != 1 || res.Damaged[0] != newer {
		t.Errorf("%+v", res)
	}
}

// TestWithoutSnapshot: tables are made from the log only if that is asked for.
func TestWithoutSnapshot(t *testing.T) {
	p := newProgram(t)
	ann := p.user("Ann", 30)
	p.user("Ben", 2.5)
	p.post(ann, "one")
	p.remove("users", `"name" = 'Ben'`, `{"name":"Ben"}`)
	p.user("Cleo", nil)
	p.sync()
	if _, path, err := p.migrate(Options{}); !errors.Is(err, ErrUnclear) || exists(path) {
		t.Errorf("%v", err)
	}
	if _, _, err := p.migrate(Options{SnapshotOnly: true, Partial: true}); !errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
	res, path, err := p.migrate(Options{Partial: true})
	ok(t, err)
	if len(res.Notes) != 1 || res.Snapshot != "" {
		t.Errorf("%q", res.Notes)
	}
	got, err := dbtest.Dump(path)
	ok(t, err)
	for _, want := range []string{`"age" INTEGER`, `"photo" BLOB`, `"active" INTEGER`, `"name" TEXT`, `{\"tags\":[\"a\",\"<b>\"],\"n\":1}`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
}

// TestRefused: what a backup lacks, or what contradicts itself, is named, and no file is
// made.
func TestRefused(t *testing.T) {
	batch := func(from, to int) string { return fmt.Sprintf("%slogs/%012d-%012d.json", prefix, from, to) }
	for name, c := range map[string]struct {
		harm func(p *program)
		o    Options
		want error
		says string
	}{
		"a batch is missing":          {func(p *program) { p.drop(batch(16, 20)) }, Options{}, ErrDamaged, "changes 16 to 20 are missing, which would be in logs/000000000016-….json"},
		"the last batch is missing":   {func(p *program) { p.drop(batch(21, 22)) }, Options{}, ErrDamaged, "changes 21 to 22 are missing"},
		"and with Partial":            {func(p *program) { p.drop(batch(16, 20)) }, Options{Partial: true}, ErrDamaged, "changes 16 to 20"},
		"a batch is cut":              {func(p *program) { p.raw(batch(16, 20), []byte{0x1f, 0x8b, 8}) }, Options{}, ErrDamaged, batch(16, 20)},
		"a batch is of other changes": {func(p *program) { p.put(batch(16, 20), p.json(15, 19)) }, Options{}, ErrDamaged, "holds changes 15 to 19"},
		"of another version": {func(p *program) {
			p.put(batch(16, 20), bytes.Replace(p.json(16, 20), []byte(`"version":1`), []byte(`"version":2`), 1))
		}, Options{}, ErrDamaged, "version 2"},
		"of another node": {func(p *program) {
			p.put(batch(16, 20), bytes.Replace(p.json(16, 20), []byte("a1b2"), []byte("b1b2"), 1))
		}, Options{}, ErrDamaged, "b1b2"},
		"a change is missing": {func(p *program) {
			p.put(batch(16, 20), bytes.Replace(p.json(16, 20), []byte(`"sequence":18`), []byte(`"sequence":19`), 1))
		}, Options{}, ErrDamaged, "change 18 is missing"},
		"an unknown operation": {func(p *program) {
			p.put(batch(16, 20), bytes.Replace(p.json(16, 20), []byte(`"insert"`), []byte(`"truncate"`), 1))
		}, Options{}, ErrDamaged, "truncate"},
		"contradicting batches":    {func(p *program) { p.rewrite(batch(18, 19), 18, 19) }, Options{}, ErrDamaged, "contradict each other from change 18"},
		"the manifest is no JSON":  {func(p *program) { p.raw("databases/crm/manifest.json", []byte("<html>")) }, Options{}, ErrDamaged, "manifest.json"},
		"no such database":         {func(*program) {}, Options{Name: "shop"}, ErrNone, `"shop"; there are: crm`},
		"no such node":             {func(*program) {}, Options{Node: "x"}, ErrNone, "a1b2c3d4e5f6"},
		"a key, and no encryption": {func(*program) {}, Options{Keys: []string{key}}, ErrKey, "not encrypted"},
		"a bad key":                {func(*program) {}, Options{Keys: []string{"abc"}}, ErrKey, "64 hex digits"},
		"several databases":        {func(p *program) { p.raw("databases/shop/manifest.json", []byte("{}")) }, Options{}, ErrNone, "crm, shop"},
		"of DriftDB for Go":        {func(p *program) { p.raw("databases/crm/manifest.json", []byte(`{"formatVersion":1}`)) }, Options{}, ErrNone, "driftdb restore"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProgram(t)
			p.batch = 5
			p.some()
			p.sync()
			p.snapshot()
			p.some()
			p.put(batch(12, 15), p.json(12, 15))
			p.sent = 15
			p.sync() // 16 to 20, 21 and 22
			c.harm(p)
			_, path, err := p.migrate(c.o)
			if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("%v; want %v, %q", err, c.want, c.says)
			}
			if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
	p := newProgram(t)
	p.key = key
	p.some()
	p.sync()
	p.snapshot()
	for what, keys := range map[string][]string{"no key": {}, "another key": {strings.Repeat("ab", 32)}} {
		if _, _, err := p.migrate(Options{Keys: keys}); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := p.migrate(Options{Keys: []string{strings.Repeat("ab", 32), key}}); err != nil {
		t.Errorf("the second of two keys: %v", err)
	}
	if _, err := Run(t.Context(), objstore.Mem(), Options{Path: filepath.Join(t.TempDir(), "x")}); !errors.Is(err, ErrNone) {
		t.Errorf("an empty bucket: %v", err)
	}
}

// drop deletes an object.
func (p *program) drop(key string) {
	p.t.Helper()
	body, _, err := p.store.Get(context.Background(), key, objstore.GetOptions{})
	ok(p.t, err) // it is there
	ok(p.t, body.Close())
	ok(p.t, p.store.Delete(context.Background(), key))
}

// rewrite stores a batch with other times: those of another history.
func (p *program) rewrite(key string, from, to int64) {
	p.put(key, bytes.ReplaceAll(p.json(from, to), []byte(`"timestamp":17`), []byte(`"timestamp":18`)))
}

// TestOverlap: batches that hold the same changes twice are no contradiction.
func TestOverlap(t *testing.T) {
	p := newProgram(t)
	p.snapshot()
	p.some()
	p.sync()
	p.put(prefix+"logs/000000000003-000000000007.json", p.json(3, 7))
	p.put(prefix+"logs/000000000001-000000000002.json", p.json(1, 2))
	p.same(Options{})
}

// TestMovedAside: what was moved to a folder below is not the package's any more.
func TestMovedAside(t *testing.T) {
	p := newProgram(t)
	p.some()
	p.sync()
	p.snapshot()
	p.some()
	p.sync()
	p.rewrite(prefix+"logs/old/000000000013-000000000015.json", 13, 15)
	p.put(prefix+"snapshots/old/9999999999999.sqlite", []byte("SQLite format 3\x00"))
	if res := p.same(Options{}); res.Batches != 1 || len(res.Damaged) > 0 {
		t.Errorf("%+v", res)
	}
}

// TestUnlogged: what other SQL wrote is not in the log, and is noticed where a change
// depends on it.
func TestUnlogged(t *testing.T) {
	p := newProgram(t)
	p.snapshot()
	p.sql("INSERT INTO users(id, createdAt, updatedAt, name, email) VALUES('raw', 1, 1, 'Raw', 'raw@x')")
	p.update("users", "age = 5.0", `"age":5`, "id = 'raw'", `{"id":"raw"}`)
	p.user("Ann", 1)
	p.post("raw", "of raw")
	p.sql("CREATE TABLE late(id TEXT PRIMARY KEY, createdAt INTEGER, updatedAt INTEGER, n INTEGER); ALTER TABLE users ADD COLUMN note TEXT")
	p.do("late", "insert", "INSERT INTO late VALUES('l', 1, 1, 5)", map[string]any{"id": "l", "createdAt": 1, "updatedAt": 1, "n": 5})
	p.update("users", "note = 'x'", `"note":"x"`, `"name" = 'Ann'`, `{"NAME":"Ann"}`)
	p.sql("ALTER TABLE users ADD COLUMN code INT DEFAULT 5")
	p.remove("users", `code = 5 AND "name" = 'Ann'`, `{"code":5,"name":"Ann"}`)
	p.sync()
	if _, _, err := p.migrate(Options{}); !errors.Is(err, ErrUnclear) || !strings.Contains(err.Error(), "change 1 (update) finds no row") {
		t.Errorf("%v", err)
	}
	res, path, err := p.migrate(Options{Partial: true})
	ok(t, err)
	notes := strings.Join(res.Notes, "\n")
	for _, want := range []string{"change 1 (update)", "change 3 cannot be made: FOREIGN KEY", `table "late"`, `no column "note", which change 5`, `no column "code", by which change 6`} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is not in %s", want, notes)
		}
	}
	if got := fmt.Sprint(res.Tables); got != "[{counts 0} {late 1} {posts 0} {users 1}]" || len(res.Notes) != 5 {
		t.Errorf("%s, %q", got, res.Notes)
	}
	if text, err := dbtest.Dump(path); err != nil || strings.Contains(text, "_driftdb") || strings.Contains(text, "_jsbucket") {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestOwnNames: nothing that DriftDB would take for its own is left, whatever kind and
// case it has.
func TestOwnNames(t *testing.T) {
	p := newProgram(t)
	p.sql("CREATE TABLE _driftdb_shape(id INTEGER PRIMARY KEY, def BLOB); CREATE VIEW _driftdb_digest AS SELECT 1; CREATE TABLE _DRIFTDB_x(a); CREATE VIRTUAL TABLE _driftdb_f USING fts5(a)")
	p.some()
	p.snapshot()
	_, path, err := p.migrate(Options{})
	ok(t, err)
	c, err := sqlite.Open(path, sqlite.Options{KeepJournal: true})
	ok(t, err)
	if n, err := c.Int("SELECT count(*) FROM sqlite_schema WHERE lower(tbl_name) LIKE '%driftdb%'"); err != nil || n > 0 {
		t.Errorf("%d of them are left, %v", n, err)
	}
	ok(t, c.Close())
}

// TestNamesFold: Late and late are one table, and all columns of both keep their values.
func TestNamesFold(t *testing.T) {
	p := newProgram(t)
	p.sql("CREATE TABLE late(id TEXT PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL, n INTEGER, m INTEGER)")
	p.do("late", "insert", "INSERT INTO late VALUES('a', 1, 1, 5, NULL)", map[string]any{"id": "a", "createdAt": 1, "updatedAt": 1, "n": 5})
	p.do("Late", "insert", "INSERT INTO late VALUES('b', 1, 1, 5, 6)", map[string]any{"id": "b", "createdAt": 1, "updatedAt": 1, "n": 5, "m": 6})
	p.sync()
	res, path, err := p.migrate(Options{Partial: true})
	ok(t, err)
	if text, err := dbtest.Dump(path); err != nil || !strings.Contains(text, `late|2|"b"|1|1|5|6`) || len(res.Notes) != 1 {
		t.Errorf("%v, %q\n%s", err, res.Notes, text)
	}
}

// TestReferences: views and foreign keys of the snapshot refer to a table that was made from
// the log, and keep doing so; a view that refers to nothing is no trouble.
func TestReferences(t *testing.T) {
	p := newProgram(t)
	p.sql("CREATE TABLE child(id TEXT PRIMARY KEY, late TEXT REFERENCES late(id) ON DELETE CASCADE); CREATE VIEW some AS SELECT * FROM late; CREATE VIEW none AS SELECT * FROM nowhere")
	p.snapshot()
	p.sql("CREATE TABLE late(id TEXT PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL, n INTEGER)")
	p.do("late", "insert", "INSERT INTO late VALUES('a', 1, 1, 5)", map[string]any{"id": "a", "createdAt": 1, "updatedAt": 1, "n": 5})
	p.do("child", "insert", "INSERT INTO child VALUES('c', 'a')", map[string]any{"id": "c", "late": "a"})
	p.sync()
	res, path, err := p.migrate(Options{Partial: true})
	ok(t, err)
	if got := fmt.Sprint(res.Tables); got != "[{child 1} {counts 0} {late 1} {posts 0} {users 0}]" || res.Violations != 0 {
		t.Errorf("%s, %d violations", got, res.Violations)
	}
	if text, err := dbtest.Dump(path); err != nil || !strings.Contains(text, "late TEXT REFERENCES late(id)") || !strings.Contains(text, "SELECT * FROM late") {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestTarget: a file that is there is kept, unless it may be replaced.
func TestTarget(t *testing.T) {
	p := newProgram(t)
	p.some()
	p.snapshot()
	path := filepath.Join(t.TempDir(), "new.sqlite")
	ok(t, os.WriteFile(path, []byte("mine"), 0o600))
	if _, _, err := p.migrate(Options{Path: path}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != "mine" {
		t.Errorf("%q, %v", have, err)
	}
	res, _, err := p.migrate(Options{Path: path, Overwrite: true})
	ok(t, err)
	if have, err := os.ReadFile(res.Kept); err != nil || string(have) != "mine" {
		t.Errorf("kept: %q, %v", have, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, p.store, Options{Path: filepath.Join(t.TempDir(), "x")}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestNodeJS: an object that Node.js made with its own zlib and crypto, as the package
// does.
func TestNodeJS(t *testing.T) {
	sealed, err := base64.StdEncoding.DecodeString(nodeObject)
	ok(t, err)
	p := newProgram(t)
	p.raw("x.json", sealed)
	keys, err := parseKeys([]string{key})
	ok(t, err)
	j := &job{ctx: t.Context(), bucket: p.store, keys: keys}
	text, err := j.readBatch("x.json")
	if err != nil || !bytes.HasPrefix(text, []byte(`{"version":1,"nodeId":"a1b2c3d4e5f6"`)) {
		t.Errorf("%q, %v", text, err)
	}
}

// TestReadsOnly: a migration leaves the folder of a backup as it was, with nothing more in
// it.
func TestReadsOnly(t *testing.T) {
	folder := t.TempDir()
	store, err := objstore.Dir(folder)
	ok(t, err)
	p := newProgram(t)
	p.store = store
	p.some()
	p.sync()
	p.snapshot()
	p.some()
	p.sync()
	before := listing(t, folder)
	opened, err := objstore.Open(t.Context(), "file://"+filepath.ToSlash(folder))
	ok(t, err)
	p.store = opened
	p.same(Options{})
	if after := listing(t, folder); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// listing is what a folder has: names, sizes and times.
func listing(t *testing.T, folder string) string {
	t.Helper()
	var b strings.Builder
	ok(t, filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&b, name, info.Size(), info.ModTime().UnixNano())
		}
		return err
	}))
	return b.String()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

const nodeObject = "AQIDBAUGBwgJCgsMa2x4dYf7U1HivrkViYXotxphUtXslPCGSKE2yaEZaRhaxz4bcWGBkyTTJB7povGtejTbkrxRoz44Q+QHlStOZiB1ICNTy0CwdUgO83e7LySfG2W0NEgPhzAaaG4tP76sJLU+uCGAbCeevtWGOwypULyjuhY7LggcYCtB77H3zj8TJHfqdHUQflpEz4Jc7YvwEFeYkD7fI63grKDPhXa7PqeG4xtrUvWGu3S26L3GtcQMaU6FtiL/QpTI"
