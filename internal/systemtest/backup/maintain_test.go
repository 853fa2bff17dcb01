package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestMerge: small batches that pile up become one, the parts go a day later,
// and what is restored is the same at every time.
func TestMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		cfg.ManualSync = false
		store := objstoretest.Count(cfg.Store)
		cfg.Store = store
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 1)
		for range 70 {
			time.Sleep(6 * time.Second)
			systemtest.Exec(t, db, "UPDATE t SET v = v || 'x'")
		}
		time.Sleep(2 * time.Minute)
		before := systemtest.Batches(t, cfg.Store)
		wide := slices.DeleteFunc(slices.Clone(before), func(k string) bool { return !strings.Contains(k, "/000000000001-0000000000") })
		if len(before) < 65 || len(wide) != 2 {
			t.Fatalf("%d batches, from the first sequence on: %q; want one that is merged beside its parts", len(before), wide)
		}
		time.Sleep(25 * time.Hour)
		systemtest.Exec(t, db, "UPDATE t SET v = 'y'")
		time.Sleep(2 * time.Minute)
		after := systemtest.Batches(t, cfg.Store)
		if len(after) > 10 {
			t.Errorf("%d batches are left: %q", len(after), after)
		}
		store.Reset()
		path := filepath.Join(t.TempDir(), "restored.sqlite")
		if _, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: path}); err != nil {
			t.Fatal(err)
		}
		if n := store.Calls(); n > 2+len(after) {
			t.Errorf("a restore made %d requests for %d batches", n, len(after))
		}
		for n := int64(2); n < 70; n += 7 {
			path := filepath.Join(t.TempDir(), "point.sqlite")
			if r, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: path, Sequence: n}); err != nil || r.Sequence != n {
				t.Errorf("to %d: %d, %v", n, r.Sequence, err)
			}
		}
	})
}

// TestMergeKeepsWhatNothingCovers: if the merged batch is gone, its parts stay.
func TestMergeKeepsWhatNothingCovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		cfg.ManualSync = false
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 1)
		for range 70 {
			time.Sleep(6 * time.Second)
			systemtest.Exec(t, db, "UPDATE t SET v = v || 'x'")
		}
		time.Sleep(2 * time.Minute)
		all := systemtest.Batches(t, cfg.Store)
		widest := all[1] // 1-2 and 1-64
		if err := cfg.Store.Delete(t.Context(), widest); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour)
		systemtest.Exec(t, db, "UPDATE t SET v = 'y'")
		time.Sleep(2 * time.Minute)
		if after := systemtest.Batches(t, cfg.Store); len(after) < len(all)-1 {
			t.Errorf("%d of %d batches are left although what covered them is gone", len(after), len(all))
		}
	})
}

// TestRetention: every point within the window can be restored, and what only
// older ones need goes, a grace time later.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cfg := systemtest.Config(t)
		cfg.Retention = 10 * 24 * time.Hour
		db := systemtest.Open(t, cfg)
		systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
		type point struct {
			at       time.Time
			sequence int64
		}
		var points []point
		for day := range 30 {
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES(?)", fmt.Sprint("day ", day))
			if day%2 == 0 {
				if _, err := db.Snapshot(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			points = append(points, point{time.Now(), db.Sequence()})
			for _, p := range points {
				path := filepath.Join(t.TempDir(), "r.sqlite")
				r, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: path, At: p.at})
				if time.Since(p.at) <= cfg.Retention && (err != nil || r.Sequence != p.sequence) {
					t.Fatalf("day %d: %s ago: sequence %d, want %d, %v", day, time.Since(p.at), r.Sequence, p.sequence, err)
				}
				if err != nil && !errors.Is(err, driftdb.ErrNoBackup) {
					t.Fatalf("day %d, %s ago: %v", day, time.Since(p.at), err)
				}
			}
			time.Sleep(24 * time.Hour)
		}
		b := systemtest.Backup(t, cfg)
		if n := len(b.Snapshots); n > 7 {
			t.Errorf("the manifest names %d snapshots", n)
		}
		if b.Objects > 25 {
			t.Errorf("%d objects are left: %q", b.Objects, systemtest.Keys(t, cfg.Store))
		}
		if len(b.Branches) != 0 {
			t.Errorf("old history is taken for branches: %+v", b.Branches)
		}
		list, err := systemtest.GarbageOf(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store}, cfg.Retention)
		if err != nil || len(list) > 4 {
			t.Errorf("garbage %v, %v", list, err)
		}
		old, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: filepath.Join(t.TempDir(), "r"), Sequence: 2})
		if !errors.Is(err, driftdb.ErrNoBackup) {
			t.Errorf("a point that is gone: %+v, %v", old, err)
		}
		for c, err := range db.Changes(ctx, driftdb.ChangeQuery{From: 1}) {
			if !errors.Is(err, driftdb.ErrNoBackup) {
				t.Errorf("changes that are gone: %+v, %v", c, err)
			}
			break
		}
		for what, changes := range map[string]iter.Seq2[driftdb.Change, error]{
			"the database": db.Changes(ctx, driftdb.ChangeQuery{}), "the backup": db.Backup().Changes(ctx, driftdb.ChangeQuery{}),
		} {
			next := b.Snapshots[0].Sequence + 1
			for c, err := range changes {
				if err != nil || c.Sequence != next {
					t.Fatalf("the first change of %s that is kept, or the next one, is %+v, %v; want %d", what, c, err, next)
				}
				next++
			}
			if next != db.Sequence()+1 {
				t.Errorf("the changes of %s end before %d", what, next)
			}
		}
	})
}

// TestCollectGarbage: what a collection deletes is what it says, also when it
// has something to send first; what it finds too old goes with the next one.
func TestCollectGarbage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cfg := systemtest.Config(t)
		cfg.Retention, cfg.Store = 24*time.Hour, slowDeletes{cfg.Store}
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 3)
		if _, err := db.Snapshot(ctx); err != nil {
			t.Fatal(err)
		}
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('second')")
		if _, err := db.Snapshot(ctx); err != nil {
			t.Fatal(err)
		}
		var sums []int
		for range 4 {
			time.Sleep(25 * time.Hour)
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('unsent')")
			before := systemtest.Keys(t, cfg.Store)
			n, size, err := db.CollectGarbage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			after := systemtest.Keys(t, cfg.Store)
			gone := slices.DeleteFunc(before, func(k string) bool { return slices.Contains(after, k) })
			if len(gone) != n || (size > 0) != (n > 0) {
				t.Errorf("it says %d objects of %d bytes; these are gone: %q", n, size, gone)
			}
			sums = append(sums, n)
			body, _, err := cfg.Store.Get(ctx, "databases/app/manifest.json", objstore.GetOptions{})
			systemtest.Check(t, err)
			if manifest, err := io.ReadAll(body); err != nil || bytes.Contains(manifest, []byte(`"back"`)) {
				t.Errorf("it says that the store's clock went back: %s, %v", manifest, err)
			}
		}
		if want := []int{0, 3, 0, 0}; !slices.Equal(sums, want) {
			t.Errorf("collections deleted %d objects, want %d", sums, want)
		}
	})
}

// slowDeletes is a store that takes its time.
type slowDeletes struct{ objstore.Store }

func (s slowDeletes) Delete(ctx context.Context, key string) error {
	time.Sleep(10 * time.Minute)
	return s.Store.Delete(ctx, key)
}

// TestRetentionForever: a negative window keeps everything.
func TestRetentionForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		cfg.Retention, cfg.SyncInterval = -1, time.Hour // or it looks at the file millions of times
		store := objstoretest.Count(cfg.Store)
		cfg.Store = store
		db := systemtest.Open(t, cfg)
		for range 5 {
			systemtest.Some(t, db, "t", 1)
			if _, err := db.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * 24 * time.Hour)
		}
		if n := store.Tally(objstoretest.Delete).Calls; n != 1 {
			t.Errorf("%d deletes, want that of what the store was probed with", n)
		}
	})
}

// TestRekey: after it the new key is enough, the old one is not, a writer who
// has both goes on, and an interrupted one is continued.
func TestRekey(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	old, new := systemtest.KeyOf("01"), systemtest.KeyOf("02")
	cfg.EncryptionKeys, cfg.MaxBatchSize = []string{old}, 2
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	systemtest.Some(t, db, "t", 9)
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	systemtest.Some(t, db, "t", 9)
	if err := db.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	cfg.EncryptionKeys = []string{new, old}
	db = systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('under the new key')")
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	both := driftdb.RestoreConfig{Name: cfg.Name, EncryptionKeys: cfg.EncryptionKeys}
	var changed atomic.Bool // a PUT that fails ends those beside it, so the first success must be over
	both.Store = objstoretest.Break(cfg.Store, func(c objstoretest.Call) objstoretest.Fault {
		if c.Op == objstoretest.Put && changed.Load() {
			return objstoretest.Fault{Kind: objstoretest.Fail, Err: errors.New("cut off")}
		}
		return objstoretest.Fault{}
	})
	half, err := systemtest.Rekey(ctx, systemtest.BackupOf(both), func(r driftdb.RekeyResult) { changed.Store(r.Changed > 0) })
	if err == nil || half.Changed == 0 {
		t.Fatalf("an interrupted rekey: %+v, %v", half, err)
	}
	both.Store = cfg.Store
	rest, err := systemtest.Rekey(ctx, systemtest.BackupOf(both), nil)
	if err != nil || rest.Changed == 0 || rest.Changed >= rest.Objects || rest.Changed+half.Changed > rest.Objects {
		t.Fatalf("the rest of it: %+v after %+v, %v", rest, half, err)
	}
	again, err := systemtest.Rekey(ctx, systemtest.BackupOf(both), nil)
	if err != nil || again.Changed != 0 || again.Objects != rest.Objects {
		t.Errorf("once more: %+v, %v", again, err)
	}
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('the writer goes on')")
	if err := db.Flush(ctx); err != nil {
		t.Errorf("the writer was disturbed: %v", err)
	}
	for _, c := range []struct {
		key  string
		want error
	}{{new, nil}, {old, driftdb.ErrKey}} {
		_, err := driftdb.Verify(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: []string{c.key}, Sequence: 5})
		if !errors.Is(err, c.want) {
			t.Errorf("with key %.2s alone: %v", c.key, err)
		}
	}
	if _, err := systemtest.Rekey(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store}, nil); !errors.Is(err, driftdb.ErrKey) {
		t.Errorf("without a key: %v", err)
	}
	for _, k := range systemtest.Keys(t, cfg.Store) {
		body, _, err := cfg.Store.Get(ctx, k, objstore.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("SQLite format")) || bytes.Contains(data, []byte("CREATE TABLE")) {
			t.Errorf("%s is readable", k)
		}
	}
}

// TestRekeyForeign: what lies under a branch's name and is not that branch's manifest gets
// no new key's signature, so nobody can put it back later; all else does.
func TestRekeyForeign(t *testing.T) {
	older, newer := systemtest.KeyOf("0a"), systemtest.KeyOf("0b")
	ctx := t.Context()
	const folder = "databases/app/"
	for name, key := range map[string]string{
		"under a stranger's node":     folder + "nodes/zz/branches/000000000001-000000000002.e1.json",
		"under the writer's own node": folder + "nodes/mine/branches/000000000001-000000000003.e1.json",
	} {
		cfg := systemtest.Config(t)
		cfg.NodeID, cfg.EncryptionKeys = "mine", []string{older}
		db, err := driftdb.Open(ctx, cfg)
		systemtest.Check(t, err)
		systemtest.Some(t, db, "t", 2)
		systemtest.Check(t, db.Flush(ctx))
		body, _, err := cfg.Store.Get(ctx, folder+"manifest.json", objstore.GetOptions{})
		systemtest.Check(t, err)
		former, err := io.ReadAll(body)
		systemtest.Check(t, errors.Join(err, body.Close()))
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('newest')")
		systemtest.Check(t, db.Shutdown(ctx))
		_, err = cfg.Store.Put(ctx, key, bytes.NewReader(former), objstore.PutOptions{})
		systemtest.Check(t, err)
		both := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: []string{newer, older}}
		res, err := systemtest.Rekey(ctx, systemtest.BackupOf(both), nil)
		if named := err != nil && strings.Contains(err.Error(), key); !slices.Equal(res.Left, []string{key}) || named != errors.Is(err, driftdb.ErrCorrupt) {
			t.Errorf("%s: rekey: %+v, %v", name, res, err)
		}
		body, _, err = cfg.Store.Get(ctx, key, objstore.GetOptions{})
		systemtest.Check(t, err)
		now, err := io.ReadAll(body)
		systemtest.Check(t, errors.Join(err, body.Close()))
		if !bytes.Equal(now, former) {
			t.Errorf("%s: it was signed:\n%s", name, now)
		}
		alone := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: []string{newer}, Path: filepath.Join(t.TempDir(), "r.sqlite")}
		if res, err := driftdb.Restore(ctx, alone); err != nil || res.Sequence != db.Sequence() {
			t.Errorf("%s: with the new key alone: %+v, %v", name, res, err)
		}
	}
}
