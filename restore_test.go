package driftdb_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

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
