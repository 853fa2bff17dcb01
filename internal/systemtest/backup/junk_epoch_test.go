package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// beset is a database whose next batch, the third change, has a stranger's object in
// its place. Its store does what hook says.
func beset(t *testing.T, hook objstoretest.Hook, ends ...systemtest.Option) (driftdb.Config, *driftdb.DB, *objstoretest.Faulty) {
	t.Helper()
	cfg := systemtest.Config(t)
	cfg.NodeID, cfg.Retry.MaxRetries = "n", -1
	faulty := objstoretest.Break(cfg.Store, nil)
	cfg.Store = faulty
	db := systemtest.Open(t, cfg, ends...)
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	systemtest.Exec(t, db, "INSERT INTO t VALUES('a')")
	systemtest.Check(t, db.Flush(t.Context()))
	intruder{t, cfg.Store}.put("000000000003-000000000003.e1.json", []byte("junkjunkjunk"))
	systemtest.Exec(t, db, "INSERT INTO t VALUES('b')")
	faulty.SetHook(hook)
	return cfg, db, faulty
}

// TestRenewUncertain: whether the swap for another epoch has succeeded, and when, makes
// no difference in the end.
func TestRenewUncertain(t *testing.T) {
	for _, kind := range []objstoretest.Kind{objstoretest.Fail, objstoretest.Lose} {
		for _, blind := range []bool{false, true} { // the manifest cannot be read either
			for swap := range 3 {
				var put, away bool
				puts := 0
				_, db, faulty := beset(t, func(c objstoretest.Call) objstoretest.Fault {
					switch {
					case c.Key == systemtest.TheManifest && c.Op == objstoretest.Put:
						if puts++; puts == swap {
							put, away = true, blind
							return objstoretest.Fault{Kind: kind}
						}
					case c.Key == systemtest.TheManifest && away:
						return objstoretest.Fault{Kind: objstoretest.Fail}
					}
					return objstoretest.Fault{}
				})
				err := db.Flush(t.Context())
				if put && kind == objstoretest.Fail && err == nil {
					t.Error("a swap that failed is no error")
				}
				faulty.SetHook(nil)
				systemtest.Exec(t, db, "INSERT INTO t VALUES('c')")
				if err := db.Flush(t.Context()); err != nil {
					t.Errorf("kind %d, blind %v, swap %d: afterwards: %v", kind, blind, swap, err)
				}
			}
		}
	}
}

// late keeps a swap of the manifest, and lets it arrive when told.
type late struct {
	objstore.Store
	keep bool
	body []byte
	opts objstore.PutOptions
}

func (l *late) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	if !l.keep || key != systemtest.TheManifest {
		return l.Store.Put(ctx, key, body, opts)
	}
	l.keep, l.opts = false, opts
	var err error
	if l.body, err = io.ReadAll(body); err != nil {
		return objstore.Info{}, err
	}
	return objstore.Info{}, objstoretest.Status(503)
}

// lateSwap opens a database whose swap to another epoch has not arrived yet, and commits
// changes 2 and 3 after what is confirmed.
func lateSwap(t *testing.T) (*driftdb.DB, driftdb.Config, *late) {
	t.Helper()
	cfg := systemtest.Config(t)
	cfg.NodeID, cfg.Retry.MaxRetries = "n", -1
	store := &late{Store: cfg.Store}
	cfg.Store = store
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	systemtest.Check(t, db.Flush(t.Context()))
	intruder{t, cfg.Store}.put("000000000002-000000000002.e1.json", []byte("junkjunkjunk"))
	systemtest.Exec(t, db, "INSERT INTO t VALUES('a')")
	store.keep = true
	if err := db.Flush(t.Context()); err == nil {
		t.Fatal("a swap that did not arrive is no error")
	}
	systemtest.Exec(t, db, "INSERT INTO t VALUES('b')")
	return db, cfg, store
}

// TestRenewLate: the swap for another epoch arrives when the session has stored more
// under the old one. That is sent again.
func TestRenewLate(t *testing.T) {
	ctx := t.Context()
	db, _, store := lateSwap(t)
	inner := store.Store
	arrived := false
	store.Store = &onPut{Store: store.Store, after: func(key string) {
		if strings.HasSuffix(key, "000000000002-000000000003.e1.json") {
			arrived = true
			_, err := inner.Put(ctx, systemtest.TheManifest, bytes.NewReader(store.body), store.opts)
			systemtest.Check(t, err)
		}
	}}
	err := db.Flush(ctx)
	if !arrived || err == nil {
		t.Fatalf("arrived %v, %v", arrived, err)
	}
	systemtest.Check(t, db.Flush(ctx))
	path := filepath.Join(t.TempDir(), "restored.sqlite")
	res, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Path: path, Store: store})
	if err != nil || res.Sequence != 3 {
		t.Errorf("%+v, %v", res, err)
	}
}

// onPut calls a function after each Put.
type onPut struct {
	objstore.Store
	after func(key string)
}

func (o *onPut) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	defer o.after(key)
	return o.Store.Put(ctx, key, body, opts)
}

// TestRenewFenced: a session whose next name is taken by a stranger does not take the
// database back from a successor.
func TestRenewFenced(t *testing.T) {
	cfg, db, _ := beset(t, nil, systemtest.Ends(driftdb.ErrFenced))
	next := cfg
	next.Path, next.NodeID, next.AutoRestore = filepath.Join(t.TempDir(), "next.sqlite"), "m", true
	successor := systemtest.Open(t, next)
	systemtest.Exec(t, successor, "INSERT INTO t VALUES('theirs')")
	systemtest.Check(t, successor.Flush(t.Context()))
	if err := db.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) {
		t.Errorf("the former writer: %v", err)
	}
	systemtest.Exec(t, successor, "INSERT INTO t VALUES('on')")
	systemtest.Check(t, successor.Flush(t.Context()))
}

// TestRenewAtBarrier: what waits for a snapshot is not confirmed by another epoch.
func TestRenewAtBarrier(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.NodeID, cfg.MaxBatchSize, cfg.Retry.MaxRetries = "n", 1, -1
	faulty := objstoretest.Break(cfg.Store, func(c objstoretest.Call) objstoretest.Fault {
		if c.Op == objstoretest.Put && strings.Contains(c.Key, "/snapshots/") {
			return objstoretest.Fault{Kind: objstoretest.Fail}
		}
		return objstoretest.Fault{}
	})
	cfg.Store = faulty
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	for i := range 5 {
		systemtest.Exec(t, db, "INSERT INTO t VALUES(?)", i)
	}
	systemtest.Exec(t, db, "DELETE FROM t WHERE v % 2 = 0")
	systemtest.Check(t, db.Flush(ctx))
	head := db.Sequence()
	for n := head + 2; n < head+5; n++ {
		intruder{t, cfg.Store}.put(fmt.Sprintf("%012d-%012d.e1.json", n, n), []byte("junkjunkjunk"))
	}
	systemtest.Check(t, db.Vacuum(ctx))
	for range 3 {
		systemtest.Exec(t, db, "UPDATE t SET v = -v WHERE rowid = 2")
		if err := db.Flush(ctx); err == nil {
			t.Error("the snapshot was stored")
		}
	}
	path := filepath.Join(t.TempDir(), "restored.sqlite")
	res, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Path: path, Store: cfg.Store})
	if err != nil || res.Sequence != head {
		t.Errorf("restored %d of %d, %v", res.Sequence, head, err)
	}
	faulty.SetHook(nil)
	systemtest.Check(t, db.Flush(ctx))
}
