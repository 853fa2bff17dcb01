package backup_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
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
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 5)
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('logged')")
	if err := db.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	rot(t, cfg.Path, "value 2", "VALUE 2")
	told := false
	cfg.OnEvent = func(e driftdb.Event) { told = told || e.Kind == driftdb.EventDigestMismatch }
	db = systemtest.Open(t, cfg) // compares at the end
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('later')")
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

// TestMalformedWithoutOwnTables: a file that SQLite could no longer read once DriftDB's tables
// are taken out, as for a snapshot. The caller is told that, and the backup's newest snapshot
// stays a good one. A Detach fails, and leaves a database that can be opened.
func TestMalformedWithoutOwnTables(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 5)
	good, err := db.Snapshot(ctx)
	systemtest.Check(t, errors.Join(err, db.Shutdown(ctx)))
	cfg = systemtest.CopyClosed(t, cfg)
	rot(t, cfg.Path, "sqlite_autoindex__driftdb_shape_1_driftdb_shape", "sqlite_autoindex__driftdb_shape_1_driftdc_shape")
	db, err = driftdb.Open(ctx, cfg)
	systemtest.Check(t, err)
	systemtest.Some(t, db, "u", 5)
	if err := db.IntegrityCheck(ctx); !errors.Is(err, driftdb.ErrCorrupt) {
		t.Errorf("a check: %v", err)
	}
	if _, err := db.Snapshot(ctx); !errors.Is(err, driftdb.ErrCorrupt) {
		t.Errorf("a snapshot: %v", err)
	}
	systemtest.Check(t, errors.Join(db.Flush(ctx), db.Shutdown(ctx)))
	if b := systemtest.Backup(t, cfg); len(b.Snapshots) != 1 || b.Snapshots[0].Key != good.Key {
		t.Errorf("the backup has the snapshots %+v, want %+v", b.Snapshots, good)
	}
	res, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: filepath.Join(t.TempDir(), "restored.sqlite")})
	if err != nil || res.Rows != 10 {
		t.Errorf("restored %d rows, want 10: %v", res.Rows, err)
	}
	if err := driftdb.Detach(cfg.Path); !errors.Is(err, driftdb.ErrCorrupt) {
		t.Errorf("a detach: %v", err)
	}
	db, err = driftdb.Open(ctx, cfg)
	systemtest.Check(t, err)
	systemtest.Check(t, db.Close())
}

// TestMalformed: a disk that fails has left a file that is no whole database any
// more. It does not become the newest point of its backup, which is told of, and
// looked for again and again, but not all the time. What the log says is stored.
func TestMalformed(t *testing.T) {
	for _, barrier := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			cfg := systemtest.Config(t)
			cfg.SnapshotEvery = 3
			db := systemtest.Open(t, cfg)
			systemtest.Some(t, db, "t", 5)
			good, err := db.Snapshot(ctx)
			systemtest.Check(t, err)
			systemtest.Check(t, db.Shutdown(ctx))
			sick := systemtest.CopyClosed(t, cfg)
			rot(t, sick.Path, "\x0a\x03\x03\x00\x1bvalue 2", "\x0a\x63\x03\x00\x1bvalue 2") // rowid 3 is 99, and the next one 4
			sick.ManualSync = false
			failed := 0
			sick.OnEvent = func(e driftdb.Event) {
				if e.Level == slog.LevelError && e.Kind == driftdb.EventFileMalformed {
					failed++
				}
			}
			db, err = driftdb.Open(ctx, sick)
			systemtest.Check(t, err)
			defer db.Close()
			if barrier {
				systemtest.Exec(t, db, "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = sql || ' ' WHERE name = 't'; PRAGMA writable_schema = OFF")
			}
			for range 100 {
				systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('"+strings.Repeat("later", 100)+"')")
				time.Sleep(time.Minute)
			}
			if m := db.Metrics(); !errors.Is(m.LastError, driftdb.ErrCorrupt) || m.PendingChanges != 0 || failed < 2 || failed > 20 {
				t.Errorf("%d changes are not sent; told %d times; last error: %v", m.PendingChanges, failed, m.LastError)
			}
			if _, err := db.Snapshot(ctx); !errors.Is(err, driftdb.ErrCorrupt) {
				t.Errorf("a snapshot: %v", err)
			}
			if err := db.Flush(ctx); errors.Is(err, driftdb.ErrCorrupt) != barrier {
				t.Errorf("a flush: %v", err)
			}
			if b := systemtest.Backup(t, cfg); len(b.Snapshots) != 1 || b.Snapshots[0].Key != good.Key {
				t.Errorf("the backup has the snapshots %+v, want %+v", b.Snapshots, good)
			}
			res, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: filepath.Join(t.TempDir(), "restored.sqlite")})
			if want := int64(105); err != nil || !barrier && res.Rows != want {
				t.Errorf("restored %d rows, want %d: %v", res.Rows, want, err)
			}
		})
	}
}

// TestDigestsAreKept: at every sequence, also after the schema has changed and
// after a restore that goes on, the restored tables are compared with digests.
func TestDigestsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cfg := systemtest.Config(t)
		cfg.ManualSync = false
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 3)
		time.Sleep(time.Minute)
		systemtest.Exec(t, db, "ALTER TABLE t ADD COLUMN w DEFAULT 7")
		time.Sleep(time.Minute)
		systemtest.Exec(t, db, "UPDATE t SET w = 8 WHERE id = 2")
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
		db = systemtest.Open(t, cfg)
		systemtest.Exec(t, db, "UPDATE t SET w = 9 WHERE id = 3")
		time.Sleep(2 * time.Minute)
		verified(1)
	})
}
