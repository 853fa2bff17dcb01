package driftdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestDamageThatReads: a damaged batch that still reads as one, and says what
// SQLite then refuses, is damage and not some other failure.
func TestDamageThatReads(t *testing.T) {
	ctx := t.Context()
	cfg := config(t)
	cfg.Compression = driftdb.NoCompression
	db := open(t, cfg)
	exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES(1, 'a')")
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	store := objstore.Mem() // the batch of cfg.Store stays as it is, for the end
	for _, key := range keys(t, cfg.Store) {
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
			some(t, db, "t", 1)
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
			cfg := config(t)
			cfg.Store, cfg.Retry.MaxRetries = objstoretest.Break(cfg.Store, nil), -1
			db := open(t, cfg)
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
			again := open(t, cfg)
			some(t, again, "t", 2)
		})
	}
}
