// Package forks tests databases that begin at a point of another one in the bucket.
package forks_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// fork creates a fork of cfg's database, and returns the configuration of its file.
func fork(t testing.TB, cfg driftdb.Config, name string, p driftdb.Point) driftdb.Config {
	t.Helper()
	b, err := driftdb.OpenBackup(t.Context(), backupOf(cfg))
	systemtest.Check(t, err)
	_, err = b.Fork(t.Context(), name, p)
	systemtest.Check(t, err)
	cfg.Name, cfg.Path, cfg.AutoRestore = name, filepath.Join(t.TempDir(), name+".sqlite"), true
	return cfg
}

func backupOf(cfg driftdb.Config) driftdb.BackupConfig {
	return driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys}
}

// values is what table t holds.
func values(t testing.TB, db *driftdb.DB) string {
	t.Helper()
	v, err := driftdb.Select[string](t.Context(), db, "SELECT coalesce(group_concat(v, ''), '') FROM (SELECT v FROM t ORDER BY id)")
	systemtest.Check(t, err)
	return v[0]
}

// restored is what table t holds in a restore.
func restored(t testing.TB, cfg driftdb.Config, p driftdb.Point) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "restored.sqlite")
	b, err := driftdb.OpenBackup(t.Context(), backupOf(cfg))
	if err != nil {
		return "", err
	}
	if _, err := b.Restore(t.Context(), path, driftdb.RestoreOptions{At: p}); err != nil {
		return "", err
	}
	db := systemtest.MustRead(t, driftdb.Config{Name: "x", Path: path})
	defer db.Close()
	return values(t, db), nil
}

func wantRestored(t testing.TB, cfg driftdb.Config, p driftdb.Point, want string) {
	t.Helper()
	if got, err := restored(t, cfg, p); err != nil || got != want {
		t.Errorf("%s at %d: %q, %v; want %q", cfg.Name, p.Sequence, got, err, want)
	}
}

// parent opens a database whose row i is the i-th letter of rows, each flushed on its own:
// letter i is change i+1.
func parent(t testing.TB, cfg driftdb.Config, rows string, options ...systemtest.Option) *driftdb.DB {
	t.Helper()
	db := systemtest.Open(t, cfg, options...)
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	add(t, db, rows)
	return db
}

func add(t testing.TB, db *driftdb.DB, rows string) {
	t.Helper()
	for _, v := range rows {
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES(?)", string(v))
		systemtest.Check(t, db.Flush(t.Context()))
	}
}

// TestFork: a fork has the parent's history up to its point, and its own after it; and the
// parent does not notice.
func TestFork(t *testing.T) {
	for _, key := range []string{"", strings.Repeat("ab", 32)} {
		for _, snapshots := range []bool{false, true} {
			t.Run(fmt.Sprintf("key %v, snapshots %v", key != "", snapshots), func(t *testing.T) {
				cfg := systemtest.Config(t)
				if key != "" {
					cfg.EncryptionKeys = []string{key}
				}
				db := parent(t, cfg, "abc")
				if snapshots {
					_, err := db.Snapshot(t.Context())
					systemtest.Check(t, err)
				}
				add(t, db, "def")
				for i, point := range []int64{2, 4, 5, 7} {
					name := fmt.Sprint("fork", i)
					f := fork(t, cfg, name, driftdb.Point{Sequence: point})
					had := "abcdef"[:point-1]
					wantRestored(t, f, driftdb.Point{}, had)
					child := systemtest.Open(t, f)
					if child.Sequence() != point || values(t, child) != had {
						t.Fatalf("%s begins at %d with %q", name, child.Sequence(), values(t, child))
					}
					add(t, child, "xy")
					wantRestored(t, f, driftdb.Point{}, had+"xy")
					wantRestored(t, f, driftdb.Point{Sequence: point + 1}, had+"x")
					wantRestored(t, f, driftdb.Point{Sequence: point}, had)
					wantRestored(t, f, driftdb.Point{Sequence: 2}, "a")
					systemtest.Check(t, child.Close())

					g := fork(t, f, name+"fork", driftdb.Point{})
					h := fork(t, f, name+"early", driftdb.Point{Sequence: 2})
					grand := systemtest.Open(t, g)
					add(t, grand, "z")
					wantRestored(t, g, driftdb.Point{}, had+"xyz")
					early := systemtest.Open(t, h)
					add(t, early, "w")
					wantRestored(t, h, driftdb.Point{}, "aw")
				}
				add(t, db, "g")
				wantRestored(t, cfg, driftdb.Point{}, "abcdefg")
			})
		}
	}
}

// TestForkReplacedGroup: a fork survives that the parent's next sessions put the changes it
// begins with into other batches.
func TestForkReplacedGroup(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.ManualSync = false
	db := parent(t, cfg, "a")
	systemtest.Check(t, db.Close())
	forks := map[string]driftdb.Config{}
	had := "a"
	for i, v := range "bcdef" {
		db := systemtest.Open(t, cfg)
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES(?)", string(v))
		systemtest.Check(t, db.Close())
		had += string(v)
		forks[had] = fork(t, cfg, fmt.Sprint("fork", i), driftdb.Point{})
	}
	for want, f := range forks {
		wantRestored(t, f, driftdb.Point{}, want)
		db := systemtest.Open(t, f)
		add(t, db, "x")
		wantRestored(t, f, driftdb.Point{}, want+"x")
	}
}

// TestForkRefusals: what cannot be forked, and why.
func TestForkRefusals(t *testing.T) {
	cfg := systemtest.Config(t)
	db := parent(t, cfg, "abc")
	fork(t, cfg, "taken", driftdb.Point{})
	for _, c := range []struct {
		name string
		at   driftdb.Point
		want error
		says string
	}{
		{"taken", driftdb.Point{}, fs.ErrExist, `"taken"`},
		{"app", driftdb.Point{}, fs.ErrExist, `"app"`},
		{"a/b", driftdb.Point{}, nil, "letters"},
		{"new", driftdb.Point{Sequence: 9}, driftdb.ErrNoBackup, "up to 4"},
		{"new", driftdb.Point{Sequence: -1}, nil, "negative"},
	} {
		_, err := db.Backup().Fork(t.Context(), c.name, c.at)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s at %d: %v", c.name, c.at.Sequence, err)
		}
	}
	if names, err := driftdb.ListBackups(t.Context(), backupOf(cfg)); err != nil || fmt.Sprint(names) != "[app taken]" {
		t.Errorf("the store lists %v, %v", names, err)
	}
	f := cfg
	f.Name = "taken"
	if err := systemtest.OpenError(t, f); err == nil {
		t.Error("the parent's file was opened under the fork's name")
	}
}

// TestDelete: a deleted backup is gone, its running writer is fenced, and the name is free.
func TestDelete(t *testing.T) {
	cfg := systemtest.Config(t)
	db := parent(t, cfg, "abc", systemtest.Ends(driftdb.ErrFenced))
	_, err := db.Backup().Delete(t.Context())
	systemtest.Check(t, err)
	if keys := systemtest.Keys(t, cfg.Store); fmt.Sprint(keys) != "[databases/app/manifest.json vacated/app]" {
		t.Errorf("left: %q", keys)
	}
	if names, err := driftdb.ListBackups(t.Context(), backupOf(cfg)); err != nil || len(names) > 0 {
		t.Errorf("the store lists %v, %v", names, err)
	}
	if _, err := driftdb.OpenBackup(t.Context(), backupOf(cfg)); !errors.Is(err, driftdb.ErrNoBackup) || !strings.Contains(err.Error(), "deleted") {
		t.Errorf("open: %v", err)
	}
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('d')")
	if err := db.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) || !strings.Contains(err.Error(), "deleted") {
		t.Errorf("the writer: %v", err)
	}
	other := cfg
	other.Path = filepath.Join(t.TempDir(), "other.sqlite")
	parent(t, other, "xyz")
	wantRestored(t, cfg, driftdb.Point{}, "xyz")
	if names, err := driftdb.ListBackups(t.Context(), backupOf(cfg)); err != nil || fmt.Sprint(names) != "[app]" {
		t.Errorf("the store lists %v, %v", names, err)
	}
}

// TestDeleteParent: what forks need stays, and goes with the last of them.
func TestDeleteParent(t *testing.T) {
	cfg := systemtest.Config(t)
	db := parent(t, cfg, "abcdef")
	systemtest.Check(t, db.Close())
	one := fork(t, cfg, "one", driftdb.Point{Sequence: 3})
	child := systemtest.Open(t, one)
	add(t, child, "x")
	systemtest.Check(t, child.Close())
	two := fork(t, one, "two", driftdb.Point{})
	b, err := driftdb.OpenBackup(t.Context(), backupOf(cfg))
	systemtest.Check(t, err)
	d, err := b.Delete(t.Context())
	if err != nil || fmt.Sprint(d.Forks) != "[one two]" {
		t.Fatalf("%+v, %v", d, err)
	}
	wantRestored(t, one, driftdb.Point{}, "abx")
	wantRestored(t, two, driftdb.Point{}, "abx")
	wantRestored(t, two, driftdb.Point{Sequence: 2}, "a")
	again := cfg
	again.ManualSync = false
	again.Path = filepath.Join(t.TempDir(), "again.sqlite")
	if err := systemtest.OpenError(t, again); err == nil || !strings.Contains(err.Error(), "Choose another name") {
		t.Errorf("the name was used again: %v", err)
	}
	b, err = driftdb.OpenBackup(t.Context(), backupOf(one))
	systemtest.Check(t, err)
	_, err = b.Delete(t.Context())
	systemtest.Check(t, err)
	wantRestored(t, two, driftdb.Point{}, "abx")
	b, err = driftdb.OpenBackup(t.Context(), backupOf(two))
	systemtest.Check(t, err)
	_, err = b.Delete(t.Context())
	systemtest.Check(t, err)
	for _, key := range systemtest.Keys(t, cfg.Store) {
		if !strings.HasSuffix(key, "/manifest.json") && !strings.HasPrefix(key, "vacated/") {
			t.Errorf("left: %s", key)
		}
	}
}

// TestForkRekey: a rekey of the fork leaves the origin's objects under the old key, which
// the fork then needs until the origin is rekeyed too.
func TestForkRekey(t *testing.T) {
	before, after := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	cfg := systemtest.Config(t)
	cfg.EncryptionKeys = []string{before, after}
	systemtest.Check(t, parent(t, cfg, "abc").Close())
	child := fork(t, cfg, "child", driftdb.Point{Sequence: 3})
	db := systemtest.Open(t, child)
	add(t, db, "x")
	systemtest.Check(t, db.Close())
	rekey := func(c driftdb.Config) {
		t.Helper()
		c.EncryptionKeys = []string{after, before}
		b, err := driftdb.OpenBackup(t.Context(), backupOf(c))
		systemtest.Check(t, err)
		_, err = b.Rekey(t.Context(), nil)
		systemtest.Check(t, err)
	}

	rekey(child)
	child.EncryptionKeys = []string{after}
	if got, err := restored(t, child, driftdb.Point{}); !errors.Is(err, driftdb.ErrKey) {
		t.Errorf("without the origin's key: %q, %v", got, err)
	}
	child.EncryptionKeys = []string{after, before}
	wantRestored(t, child, driftdb.Point{}, "abx")

	rekey(cfg)
	child.EncryptionKeys = []string{after}
	wantRestored(t, child, driftdb.Point{}, "abx")
	db = systemtest.Open(t, child)
	add(t, db, "y")
	systemtest.Check(t, db.Close())
	wantRestored(t, child, driftdb.Point{}, "abxy")
}

// TestForkRepair: a fork that has lost its manifest begins again with its own first
// snapshot. Until then nothing of its origin is deleted.
func TestForkRepair(t *testing.T) {
	cfg := systemtest.Config(t)
	systemtest.Check(t, parent(t, cfg, "abc").Close())
	child := fork(t, cfg, "child", driftdb.Point{})
	db := systemtest.Open(t, child)
	add(t, db, "x")
	_, err := db.Snapshot(t.Context())
	systemtest.Check(t, err)
	add(t, db, "y")
	systemtest.Check(t, db.Close())
	systemtest.Check(t, cfg.Store.Delete(t.Context(), "databases/child/manifest.json"))

	b, err := driftdb.OpenBackup(t.Context(), backupOf(cfg))
	systemtest.Check(t, err)
	_, err = b.Delete(t.Context())
	systemtest.Check(t, err)
	if left := systemtest.Keys(t, cfg.Store); !slices.ContainsFunc(left, func(key string) bool { return strings.HasPrefix(key, "databases/app/nodes/") }) {
		t.Errorf("nothing is left of the origin: %q", left)
	}

	place := driftdb.RestoreConfig{Name: child.Name, Store: child.Store}
	res, err := driftdb.Repair(t.Context(), systemtest.BackupOf(place), driftdb.RepairOptions{File: child.Path})
	systemtest.Check(t, err)
	if len(res.Snapshots) != 1 || res.Restored.Sequence != 6 {
		t.Errorf("%+v", res)
	}
	wantRestored(t, child, driftdb.Point{}, "abcxy")
	db = systemtest.Open(t, child)
	add(t, db, "z")
	systemtest.Check(t, db.Close())
	wantRestored(t, child, driftdb.Point{}, "abcxyz")
}
