package backup_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestDamageThatReads: a damaged batch that still reads as one, and says what
// SQLite then refuses, is damage and not some other failure.
func TestDamageThatReads(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.Compression = driftdb.CompressionNone
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES(1, 'a')")
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	store := objstore.Mem() // the batch of cfg.Store stays as it is, for the end
	for _, key := range systemtest.Keys(t, cfg.Store) {
		body, _, err := cfg.Store.Get(ctx, key, objstore.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(key, "/logs/") {
			data = bytes.Replace(data, []byte(`"name":"a"`), []byte(`"mane":"a"`), 1)
		}
		if _, err := store.Put(ctx, key, bytes.NewReader(data), objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := driftdb.Verify(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: store}); !errors.Is(err, driftdb.ErrCorrupt) {
		t.Errorf("verify of a batch that was changed: %v", err)
	}
}

// TestEmptyBackup: a machine that was lost before anything of it was in the
// bucket leaves a backup of an empty database, and others go on from there.
func TestEmptyBackup(t *testing.T) {
	for name, lose := range map[string]func(cfg driftdb.Config, db *driftdb.DB) error{
		"a snapshot of nothing": func(_ driftdb.Config, db *driftdb.DB) error {
			_, err := db.Snapshot(t.Context())
			return err
		},
		"a manifest, and no batch": func(cfg driftdb.Config, db *driftdb.DB) error {
			systemtest.Some(t, db, "t", 1)
			store := cfg.Store.(*objstoretest.Faulty)
			store.SetHook(func(c objstoretest.Call) objstoretest.Fault {
				if strings.HasSuffix(c.Key, "manifest.json") {
					return objstoretest.Fault{}
				}
				return objstoretest.Fault{Kind: objstoretest.Fail}
			})
			if err := db.Flush(t.Context()); !errors.Is(err, objstoretest.ErrInjected) {
				return fmt.Errorf("flush: %w", err)
			}
			store.SetHook(nil)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := systemtest.Config(t)
			cfg.Store, cfg.Retry.MaxRetries = objstoretest.Break(cfg.Store, nil), -1
			db := systemtest.Open(t, cfg)
			if err := lose(cfg, db); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(cfg.Path); err != nil {
				t.Fatal(err)
			}
			cfg.AutoRestore = true
			again := systemtest.Open(t, cfg)
			systemtest.Some(t, again, "t", 2)
		})
	}
}

// TestDamagedSnapshot: where the log does not reach back to before a damaged
// snapshot, that is what the error says.
func TestDamagedSnapshot(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db, err := driftdb.Open(ctx, cfg)
	systemtest.Check(t, err)
	defer db.Close()
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, db.Vacuum(ctx))
	systemtest.Check(t, db.Flush(ctx))
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('after')")
	info, err := db.Snapshot(ctx)
	systemtest.Check(t, err)
	want := map[string]error{systemtest.Backup(t, cfg).Snapshots[0].Key: driftdb.ErrCorrupt, info.Key: nil}
	for _, key := range []string{info.Key, systemtest.Backup(t, cfg).Snapshots[0].Key} { // the newest, then both
		systemtest.Check(t, cfg.Store.Delete(ctx, key))
		res, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: filepath.Join(t.TempDir(), "r")})
		if !errors.Is(err, want[key]) || errors.Is(err, driftdb.ErrNoBackup) {
			t.Errorf("without %s: %v, want %v", key, err, want[key])
		}
		if err == nil && (res.Sequence != db.Sequence() || !slices.Equal(res.Damaged, []string{info.Key})) {
			t.Errorf("without %s: %+v", key, res)
		}
	}
}
