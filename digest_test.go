package driftdb_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
)

// rot changes bytes of a closed database file, and nothing else of it, as a
// failing disk does. (Some may be of rows that are deleted.)
func rot(t testing.TB, path, from, to string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(data, []byte(from)) || len(from) != len(to) {
		t.Fatalf("%q is not in the file (%v)", from, err)
	}
	data = bytes.ReplaceAll(data, []byte(from), []byte(to))
	if err := errors.Join(os.WriteFile(path, data, 0o600), os.Chtimes(path, time.Time{}, info.ModTime())); err != nil {
		t.Fatal(err)
	}
}

// TestDigestFindsAHole: a row that changed without a log entry is found by the
// next snapshot, which has it, and no restore crosses the hole in silence.
func TestDigestFindsAHole(t *testing.T) {
	ctx := t.Context()
	cfg := config(t)
	db := open(t, cfg)
	some(t, db, "t", 5)
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "INSERT INTO t(v) VALUES('logged')")
	if err := db.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	rot(t, cfg.Path, "value 2", "VALUE 2")
	told := false
	cfg.OnEvent = func(e driftdb.Event) { told = told || strings.Contains(e.Message, "what the log says") }
	db = open(t, cfg) // compares at the end
	exec(t, db, "INSERT INTO t(v) VALUES('later')")
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	if n := db.Metrics().Mismatches; n != 1 || !told {
		t.Errorf("%d mismatches, told %v", n, told)
	}
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	if n := db.Metrics().Mismatches; n != 1 {
		t.Errorf("%d mismatches after another snapshot", n)
	}
}

// TestDigestsAreKept: at every sequence, also after the schema has changed and
// after a restore that goes on, the restored tables are compared with digests.
func TestDigestsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cfg := config(t)
		cfg.ManualSync = false
		db := open(t, cfg)
		some(t, db, "t", 3)
		time.Sleep(time.Minute)
		exec(t, db, "ALTER TABLE t ADD COLUMN w DEFAULT 7")
		time.Sleep(time.Minute)
		exec(t, db, "UPDATE t SET w = 8 WHERE id = 2")
		time.Sleep(2 * time.Minute)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		verified := func(want int) {
			t.Helper()
			v, err := driftdb.Verify(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store})
			if err != nil || v.Tables != want {
				t.Errorf("%d tables were compared, want %d (%v)", v.Tables, want, err)
			}
		}
		verified(1)
		cfg.Path, cfg.AutoRestore = filepath.Join(t.TempDir(), "again.sqlite"), true
		db = open(t, cfg)
		exec(t, db, "UPDATE t SET w = 9 WHERE id = 3")
		time.Sleep(2 * time.Minute)
		verified(1)
	})
}
