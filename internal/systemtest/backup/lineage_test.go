package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// takeOver lets another machine become the writer, with a change of its own.
func takeOver(t testing.TB, cfg driftdb.Config) *driftdb.DB {
	t.Helper()
	other := systemtest.Open(t, systemtest.Elsewhere(t, cfg))
	systemtest.Exec(t, other, "INSERT INTO t(v) VALUES('second')")
	systemtest.Check(t, other.Flush(t.Context()))
	return other
}

// TestRefuseTakeover: a second node is kept out, the same node comes back.
func TestRefuseTakeover(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.RefuseTakeover = true
	first := systemtest.Open(t, cfg)
	systemtest.Some(t, first, "t", 3)
	if err := first.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	other := systemtest.Elsewhere(t, cfg)
	other.ManualSync = false
	if _, err := driftdb.Open(ctx, other); !errors.Is(err, driftdb.ErrLocked) || !strings.Contains(err.Error(), first.NodeID()) {
		t.Fatalf("open on another node: %v", err)
	}
	other.ManualSync = true // does not ask the bucket at Open
	second, err := driftdb.Open(ctx, other)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	systemtest.Exec(t, second, "INSERT INTO t(v) VALUES('second')")
	if err := second.Flush(ctx); !errors.Is(err, driftdb.ErrLocked) {
		t.Errorf("flush on another node: %v", err)
	}
	if _, err := second.Exec(ctx, "INSERT INTO t(v) VALUES('x')"); !errors.Is(err, driftdb.ErrLocked) {
		t.Errorf("a write after that: %v", err)
	}
	systemtest.Exec(t, first, "INSERT INTO t(v) VALUES('first')")
	if err := first.Shutdown(ctx); err != nil {
		t.Errorf("the writer was disturbed: %v", err)
	}
	again := systemtest.Elsewhere(t, cfg)
	again.NodeID, again.ManualSync = first.NodeID(), false
	third := systemtest.Open(t, again)
	systemtest.Exec(t, third, "INSERT INTO t(v) VALUES('third')")
}

// TestTakeoverAtFirstWrite: a machine that opens the database and reads it leaves the
// writer alone. With its first change it is the writer, before that is sent.
func TestTakeoverAtFirstWrite(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Some(t, first, "t", 3)
	if err := first.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	away := systemtest.Elsewhere(t, cfg)
	away.ManualSync = false
	away.SyncInterval = time.Hour
	second := systemtest.Open(t, away)
	if n := systemtest.Count(t, second, "t"); n != 3 {
		t.Fatalf("%d rows", n)
	}
	systemtest.Exec(t, second, "CREATE TABLE IF NOT EXISTS t(v)") // which is there
	systemtest.Exec(t, first, "INSERT INTO t(v) VALUES('still the writer')")
	if err := first.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	systemtest.Exec(t, second, "INSERT INTO t(v) VALUES('mine')")
	if n := systemtest.Count(t, second, "t"); n != 5 {
		t.Errorf("%d rows: what the other one had stored by then is not there", n)
	}
	if b := systemtest.Backup(t, cfg); b.NodeID != second.NodeID() || b.Epoch != 2 {
		t.Errorf("the writer is %s, epoch %d, after %s has opened", b.NodeID, b.Epoch, second.NodeID())
	}
	systemtest.Exec(t, first, "INSERT INTO t(v) VALUES('late')")
	if err := first.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
		t.Errorf("flush of the one that lost: %v", err)
	}
}

// TestOpenBarrier: a writer stores a barrier and dies before its snapshot. It
// goes on where it was; another machine goes on before the barrier.
func TestOpenBarrier(t *testing.T) {
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprintf("same disk %v", same), func(t *testing.T) {
			ctx := t.Context()
			cfg := systemtest.Config(t)
			store := objstoretest.Break(cfg.Store, nil)
			inner := cfg.Store
			cfg.Store, cfg.Retry.MaxRetries = store, -1
			db, err := driftdb.Open(ctx, cfg)
			if err != nil {
				t.Fatal(err)
			}
			systemtest.Some(t, db, "t", 3)
			if err := db.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			if err := db.Vacuum(ctx); err != nil {
				t.Fatal(err)
			}
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('behind the barrier')")
			store.SetHook(func(c objstoretest.Call) objstoretest.Fault {
				if strings.HasSuffix(c.Key, ".sqlite") {
					return objstoretest.Fault{Kind: objstoretest.Fail}
				}
				return objstoretest.Fault{}
			})
			if err := db.Flush(ctx); !errors.Is(err, objstoretest.ErrInjected) {
				t.Fatalf("flush without a snapshot: %v", err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			cfg.Store = inner
			want := int64(5)
			if !same {
				cfg, want = systemtest.Elsewhere(t, cfg), 4
			}
			db = systemtest.Open(t, cfg)
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('after')")
			if err := db.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			if n := systemtest.Count(t, db, "t"); n != want {
				t.Errorf("%d rows, want %d", n, want)
			}
		})
	}
}

// TestNewBucket: a file that has sent its log to a bucket which is gone begins
// a new backup with a snapshot.
func TestNewBucket(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrDiverged))
	systemtest.Some(t, db, "t", 20)
	systemtest.Check(t, db.Flush(ctx))
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('in another batch')") // until then the log keeps the first one
	if err := db.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	cfg.Store = objstore.Mem()
	db = systemtest.Open(t, cfg) // compares at the end
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('in the new bucket')")
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if b := systemtest.Backup(t, cfg); len(b.Snapshots) != 1 || b.Sequence != db.Sequence() {
		t.Errorf("the new backup: %+v", b)
	}
}

// TestBucketGone: the bucket of a running session is empty all of a sudden, as one
// whose disk was unmounted. Nobody has taken over: writes go on, somebody is told,
// and when the bucket is back, without what was stored in its absence, sync goes on,
// in this session or the next one.
func TestBucketGone(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("opened again: ", again), func(t *testing.T) { bucketGone(t, again) })
	}
}

func bucketGone(t *testing.T, again bool) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	var told []driftdb.Event
	cfg.OnEvent = func(e driftdb.Event) {
		if e.Kind == driftdb.EventSyncFailed || e.Kind == driftdb.EventRepairNeeded {
			told = append(told, e)
		}
	}
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, db.Flush(ctx))
	back := empty(t, cfg.Store)
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('meanwhile')")
	wantGone(t, db)
	if len(told) != 1 || told[0].Level != slog.LevelWarn {
		t.Errorf("told: %+v", told)
	}
	if elsewhere := systemtest.Keys(t, cfg.Store); len(elsewhere) > 2 {
		t.Errorf("what was sent to an empty bucket: %q", elsewhere)
	}
	back()
	if again {
		systemtest.Check(t, db.Close())
		db = systemtest.Open(t, cfg)
	}
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('afterwards')")
	systemtest.Check(t, db.Flush(ctx)) // and is compared at the end
}

func wantGone(t *testing.T, db *driftdb.DB) {
	t.Helper()
	_, err := db.Snapshot(t.Context())
	if !errors.Is(err, driftdb.ErrNoBackup) || errors.Is(err, driftdb.ErrFenced) || !strings.Contains(err.Error(), "the manifest is gone") {
		t.Errorf("snapshot: %v", err)
	}
	if m := db.Metrics(); !errors.Is(m.LastError, driftdb.ErrNoBackup) || m.Fenced {
		t.Errorf("last error %v, fenced %v", m.LastError, m.Fenced)
	}
}

// TestBucketStaysGone: a rule of the bucket has deleted the manifest, or all that
// there was. The session that finds it says so. Where all is gone, it begins a new backup
// with the next attempt, and so does the next session. Where only the manifest is, nobody
// does: a repair makes that anew, and the file goes on.
func TestBucketStaysGone(t *testing.T) {
	for _, again := range []bool{false, true} {
		for _, all := range []bool{false, true} {
			t.Run(fmt.Sprint("opened again: ", again, ", all: ", all), func(t *testing.T) {
				ctx := t.Context()
				cfg := systemtest.Config(t)
				told := systemtest.Listen(&cfg)
				db := systemtest.Open(t, cfg) // compares at the end
				systemtest.Some(t, db, "t", 3)
				systemtest.Check(t, db.Flush(ctx))
				systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('in another batch')")
				systemtest.Check(t, db.Flush(ctx))
				for _, key := range systemtest.Keys(t, cfg.Store) {
					if all || strings.HasSuffix(key, "/manifest.json") {
						systemtest.Check(t, cfg.Store.Delete(ctx, key))
					}
				}
				systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('meanwhile')")
				if again {
					systemtest.Check(t, db.Close())
					db = systemtest.Open(t, cfg)
				} else {
					wantGone(t, db)
				}
				systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('in the new backup')")
				if !all {
					for range 2 { // however often it tries
						if err := db.Flush(ctx); !errors.Is(err, driftdb.ErrCorrupt) || !strings.Contains(err.Error(), "driftdb repair") {
							t.Errorf("without the manifest: %v", err)
						}
					}
					_, err := driftdb.Repair(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store}, driftdb.RepairOptions{})
					systemtest.Check(t, err)
					systemtest.Check(t, db.Shutdown(ctx))
					return
				}
				systemtest.Check(t, db.Flush(ctx))
				if b := systemtest.Backup(t, cfg); len(b.Snapshots) != 1 || b.Sequence != db.Sequence() || b.Epoch < 1_700_000_000 {
					t.Errorf("the new backup: %+v", b)
				}
				if e := told.Wait(t, driftdb.EventBackupBegun); e.Level != slog.LevelWarn {
					t.Errorf("told: %+v", e)
				}
				systemtest.Check(t, db.Shutdown(ctx))
			})
		}
	}
}

// empty empties a store, and returns how to make it again what it was.
func empty(t *testing.T, store objstore.Store) (back func()) {
	t.Helper()
	objects := map[string][]byte{}
	clear := func() {
		for _, key := range systemtest.Keys(t, store) {
			systemtest.Check(t, store.Delete(t.Context(), key))
		}
	}
	for _, key := range systemtest.Keys(t, store) {
		body, _, err := store.Get(t.Context(), key, objstore.GetOptions{})
		systemtest.Check(t, err)
		objects[key], err = io.ReadAll(body)
		systemtest.Check(t, errors.Join(err, body.Close()))
	}
	clear()
	return func() {
		clear()
		for key, data := range objects {
			_, err := store.Put(t.Context(), key, bytes.NewReader(data), objstore.PutOptions{})
			systemtest.Check(t, err)
		}
	}
}

// deaf honours no condition, like some services.
type deaf struct {
	objstore.Store
	says error
}

func (d deaf) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	if d.says != nil && opts != (objstore.PutOptions{}) {
		return objstore.Info{}, d.says
	}
	return d.Store.Put(ctx, key, body, objstore.PutOptions{})
}

// TestUnconditionalStore: a store that does not honour conditional writes is
// refused, unless the user knows what he does.
func TestUnconditionalStore(t *testing.T) {
	ctx := t.Context()
	for _, says := range []error{nil, fmt.Errorf("501: %w", errors.ErrUnsupported)} {
		cfg := systemtest.Config(t)
		cfg.Store = deaf{cfg.Store, says}
		db, err := driftdb.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		systemtest.Some(t, db, "t", 1)
		if err := db.Flush(ctx); err == nil || !strings.Contains(err.Error(), "conditional writes") {
			t.Errorf("flush to a store that ignores conditions: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		cfg.AdvisoryFencing = true
		db = systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
		systemtest.Some(t, db, "t", 3)
		if err := db.Flush(ctx); err != nil {
			t.Error(err)
		}
		second := systemtest.Open(t, systemtest.Elsewhere(t, cfg))
		systemtest.Exec(t, second, "INSERT INTO t(v) VALUES('second')")
		if err := second.Flush(ctx); err != nil {
			t.Error(err)
		}
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('first')")
		if err := db.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
			t.Errorf("advisory fencing did not notice the other writer: %v", err)
		}
	}
}

// TestUnconditionalTakeover: a first change that would take over by way of such a store
// is refused.
func TestUnconditionalTakeover(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.Store, cfg.AdvisoryFencing = deaf{Store: cfg.Store}, true
	db, err := driftdb.Open(ctx, cfg)
	systemtest.Check(t, err)
	systemtest.Some(t, db, "t", 1)
	systemtest.Check(t, db.Flush(ctx))
	systemtest.Check(t, db.Close())
	before := systemtest.Backup(t, cfg)

	cfg.AdvisoryFencing, cfg.ManualSync, cfg.NodeID = false, false, "another"
	db, err = driftdb.Open(ctx, cfg)
	systemtest.Check(t, err)
	if _, err := db.Exec(ctx, "INSERT INTO t(v) VALUES('mine')"); err == nil || !strings.Contains(err.Error(), "conditional writes") {
		t.Errorf("%v", err)
	}
	if n := systemtest.Count(t, db, "t"); n != 1 {
		t.Errorf("%d rows", n)
	}
	systemtest.Check(t, db.Close())
	if now := systemtest.Backup(t, cfg); now.NodeID != before.NodeID || now.Epoch != before.Epoch {
		t.Errorf("the writer is %s", now.NodeID)
	}
}

// TestUnconditionalFence: a machine that refuses to write to such a store does not fence the
// writer that does.
func TestUnconditionalFence(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	cfg.Store, cfg.AdvisoryFencing = deaf{Store: cfg.Store}, true
	writer := systemtest.Open(t, cfg)
	systemtest.Some(t, writer, "t", 1)
	systemtest.Check(t, writer.Flush(ctx))
	other := systemtest.Elsewhere(t, cfg)
	other.AdvisoryFencing = false
	db, err := driftdb.Open(ctx, other)
	systemtest.Check(t, err)
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('other')")
	if err := db.Flush(ctx); err == nil || !strings.Contains(err.Error(), "conditional writes") {
		t.Errorf("the other one: %v", err)
	}
	systemtest.Check(t, db.Close())
	systemtest.Exec(t, writer, "INSERT INTO t(v) VALUES('writer')")
	systemtest.Check(t, writer.Flush(ctx))
}

// TestFencedEverywhere: whichever way a write takes, it can be told that the
// database is lost, and SQLite's code stays.
func TestFencedEverywhere(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Some(t, first, "t", 1)
	systemtest.Check(t, first.Flush(ctx))
	prepared, err := first.SQL().PrepareContext(ctx, "INSERT INTO t(v) VALUES('x')")
	systemtest.Check(t, err)
	defer prepared.Close()
	users, err := first.Define(ctx, "users", driftdb.Schema{driftdb.Text("name")})
	systemtest.Check(t, err)
	takeOver(t, cfg)
	if err := first.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatal(err)
	}
	for way, write := range map[string]func() error{
		"Exec":         func() error { _, err := first.Exec(ctx, "INSERT INTO t(v) VALUES('x')"); return err },
		"a script":     func() error { _, err := first.Exec(ctx, "CREATE TABLE x(a); INSERT INTO x VALUES(1)"); return err },
		"a repository": func() error { _, err := users.Create(ctx, driftdb.Record{"name": "x"}); return err },
		"Tx": func() error {
			return first.Tx(ctx, func(tx *driftdb.Tx) error { _, err := tx.Exec(ctx, "DELETE FROM t"); return err })
		},
		"SQL":           func() error { _, err := first.SQL().ExecContext(ctx, "INSERT INTO t(v) VALUES('x')"); return err },
		"SQL, schema":   func() error { _, err := first.SQL().ExecContext(ctx, "CREATE TABLE x(a)"); return err },
		"SQL, prepared": func() error { _, err := prepared.ExecContext(ctx); return err },
		"SQL, in a transaction": func() error {
			tx, err := first.SQL().BeginTx(ctx, nil)
			systemtest.Check(t, err)
			defer tx.Rollback()
			_, err = tx.ExecContext(ctx, "UPDATE t SET v = 'x'")
			systemtest.Check(t, err)
			return tx.Commit()
		},
	} {
		if err := write(); !errors.Is(err, driftdb.ErrFenced) {
			t.Errorf("%s: %v", way, err)
		}
	}
	if n := systemtest.Count(t, first, "t"); n != 1 {
		t.Errorf("%d rows", n)
	}
}

// TestHeadless: a bucket whose manifest is gone is no empty one for a file that knows
// nothing of it: not for AutoRestore, which would begin with nothing, nor for a new file
// or a restore.
func TestHeadless(t *testing.T) {
	for _, left := range []string{"/logs/", "/snapshots/"} {
		ctx := t.Context()
		cfg := systemtest.Config(t)
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 3)
		_, err := db.Snapshot(ctx)
		systemtest.Check(t, err)
		systemtest.Check(t, db.Shutdown(ctx))
		restored := systemtest.RestoreTo(ctx, cfg, filepath.Join(t.TempDir(), "before.sqlite"))
		systemtest.Check(t, restored)
		for _, key := range systemtest.Keys(t, cfg.Store) {
			if !strings.Contains(key, left) {
				systemtest.Check(t, cfg.Store.Delete(ctx, key))
			}
		}
		if err := systemtest.RestoreTo(ctx, cfg, filepath.Join(t.TempDir(), "r.sqlite")); !errors.Is(err, driftdb.ErrCorrupt) || !strings.Contains(err.Error(), "manifest") {
			t.Errorf("%s: restore: %v", left, err)
		}
		for _, auto := range []bool{false, true} {
			for _, node := range []string{"", db.NodeID()} {
				fresh := systemtest.Config(t)
				fresh.Store, fresh.AutoRestore, fresh.NodeID, fresh.ManualSync = cfg.Store, auto, node, false
				if db, err := driftdb.Open(ctx, fresh); !errors.Is(err, driftdb.ErrCorrupt) {
					t.Errorf("%s: open, AutoRestore %v, node %q: %v", left, auto, node, err)
					if err == nil {
						systemtest.Check(t, db.Close())
					}
				}
				if _, err := os.Stat(fresh.Path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: AutoRestore %v, node %q: a file was left (%v)", left, auto, node, err)
				}
			}
		}
		fresh := systemtest.Config(t) // and when Open does not ask the bucket
		fresh.Store = cfg.Store
		other, err := driftdb.Open(ctx, fresh)
		systemtest.Check(t, err)
		systemtest.Exec(t, other, "CREATE TABLE t(v)")
		if err := other.Flush(ctx); !errors.Is(err, driftdb.ErrCorrupt) {
			t.Errorf("%s: flush: %v", left, err)
		}
		systemtest.Check(t, other.Close())
		// Nor does a stranger's object leave no epoch for a new backup.
		_, err = cfg.Store.Put(ctx, fmt.Sprintf("databases/app/nodes/%s/logs/000000000001-000000000001.e%d.json", db.NodeID(), int64(1)<<53-1), strings.NewReader("junk"), objstore.PutOptions{})
		systemtest.Check(t, err)
		// And whose own it was begins no other backup over it.
		cfg.ManualSync = false
		if db, err := driftdb.Open(ctx, cfg); !errors.Is(err, driftdb.ErrCorrupt) || !strings.Contains(err.Error(), "driftdb repair") {
			t.Errorf("%s: the file of the writer: %v", left, err)
			if err == nil {
				systemtest.Check(t, db.Close())
			}
		}
		cfg.ManualSync = true
		_, err = driftdb.Repair(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store}, driftdb.RepairOptions{File: cfg.Path})
		systemtest.Check(t, err)
		db = systemtest.Open(t, cfg)
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('later')")
		systemtest.Check(t, db.Flush(ctx))
		systemtest.Check(t, systemtest.RestoreTo(ctx, cfg, filepath.Join(t.TempDir(), "r.sqlite")))
	}
}
