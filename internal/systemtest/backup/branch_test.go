package backup_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// equalsBranch restores a branch and compares it with the database at cfg.Path.
func equalsBranch(t *testing.T, cfg driftdb.Config, b driftdb.BranchInfo) {
	t.Helper()
	for _, at := range []time.Time{{}, time.Now()} {
		path := filepath.Join(t.TempDir(), "branch.sqlite")
		res, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Path: path, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys, Branch: b.ID, At: at})
		if err != nil || res.Sequence != b.To {
			t.Fatalf("restored branch %s, at %s, to %d, want %d: %v", b.ID, at, res.Sequence, b.To, err)
		}
		dbtest.Equal(t, cfg.Path, path)
	}
}

// TestBranch: what a writer had sent and not sent when it was taken over from
// is a branch, which can be restored.
func TestBranch(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.MaxBatchSize = 2
	first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Some(t, first, "t", 3)
	if err := first.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	takeOver(t, cfg)
	if b := systemtest.Backup(t, cfg).Branches; len(b) != 0 {
		t.Errorf("branches before there is one: %+v", b)
	}
	systemtest.Some(t, first, "t", 5)
	if err := first.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatalf("flush of the one that lost: %v", err)
	}
	branches := systemtest.Backup(t, cfg).Branches
	if len(branches) != 1 || branches[0].NodeID != first.NodeID() || branches[0].From != 5 || branches[0].To != first.Sequence() {
		t.Fatalf("branches %+v, want one of node %s, sequences 5 to %d", branches, first.NodeID(), first.Sequence())
	}
	equalsBranch(t, cfg, branches[0])
	_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: filepath.Join(t.TempDir(), "x"), Store: cfg.Store, Branch: "nobody.e1"})
	if !errors.Is(err, driftdb.ErrNoBackup) || !strings.Contains(err.Error(), branches[0].ID) {
		t.Errorf("a branch that is not there: %v", err)
	}
}

// TestBranchOfAClone: of two copies of a machine that go on under one epoch,
// the one that loses keeps its data under a node id of its own.
func TestBranchOfAClone(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Some(t, first, "t", 3)
	if err := first.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	// The clone has the same file, the same epoch, and wrote first.
	other := cfg
	other.Path = filepath.Join(t.TempDir(), "clone.sqlite")
	if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: other.Path, Store: cfg.Store}); err != nil {
		t.Fatal(err)
	}
	putBatch(t, cfg)
	systemtest.Exec(t, first, "INSERT INTO t(v) VALUES('mine')")
	if err := first.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatalf("flush onto the clone's batch: %v", err)
	}
	var found bool
	for _, b := range systemtest.Backup(t, cfg).Branches {
		if b.NodeID == first.NodeID() {
			continue
		}
		found = true
		equalsBranch(t, cfg, b)
	}
	if !found {
		t.Errorf("no branch of another node: %+v", systemtest.Backup(t, cfg).Branches)
	}
}

// putBatch stores the batch that the writer's session, or a clone of it, would store
// next if it had made a table.
func putBatch(t *testing.T, cfg driftdb.Config) {
	t.Helper()
	ring, err := seal.ParseKeys(cfg.EncryptionKeys)
	systemtest.Check(t, err)
	b := remote.New(cfg.Store, cfg.Name, seal.Options{Ring: ring})
	m, err := b.Manifest(t.Context())
	systemtest.Check(t, err)
	next := m.LatestSequence + 1
	name := remote.Batch{NodeID: m.NodeID, From: next, To: next, Epoch: m.Epoch}
	var sealed bytes.Buffer
	dst, err := b.SealBatch(&sealed, m.DatabaseID, remote.BatchKey(cfg.Name, name))
	systemtest.Check(t, err)
	w := batch.NewWriter(dst, batch.Header{NodeID: m.NodeID, Epoch: m.Epoch, From: next, Prev: m.ChainHead})
	systemtest.Check(t, w.Begin(next, 1_700_000_000_000))
	systemtest.Check(t, w.Add(&change.Entry{Op: change.Schema, SQL: "CREATE TABLE clones(v)"}))
	systemtest.Check(t, w.End())
	_, err = w.Close()
	systemtest.Check(t, errors.Join(err, dst.Close()))
	systemtest.Check(t, b.PutBatch(t.Context(), m.DatabaseID, name, sealed.Bytes()))
}

// TestBranchOfATwin: a copy of the machine, made while it ran, has replaced the
// manifest under the same epoch. Batches of the two cannot be told apart; what
// the one that loses had sent and not sent is restored from a snapshot.
func TestBranchOfATwin(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.ManualSync, cfg.SyncInterval = false, time.Hour
	first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Some(t, first, "t", 3)
	systemtest.Check(t, first.Flush(ctx))
	bucket := remote.New(cfg.Store, cfg.Name, seal.Options{})
	stored, err := bucket.Manifest(ctx)
	systemtest.Check(t, err)
	_, err = bucket.Swap(ctx, stored, stored.Clone())
	systemtest.Check(t, err)
	systemtest.Exec(t, first, "INSERT INTO t(v) VALUES('mine')")
	if err := first.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatalf("flush after the twin's: %v", err)
	}
	branches := systemtest.Backup(t, cfg).Branches
	if len(branches) != 1 || branches[0].NodeID == first.NodeID() || branches[0].To != first.Sequence() {
		t.Fatalf("branches %+v, want one of another node to %d", branches, first.Sequence())
	}
	equalsBranch(t, cfg, branches[0])
}

// TestBranchLater: a bucket that cannot be reached when the session loses gets
// its rest when it can.
func TestBranchLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cfg := systemtest.Config(t)
		store := objstoretest.Break(cfg.Store, nil)
		cfg.ManualSync, cfg.Retry.MaxRetries = false, -1
		inner := cfg.Store
		cfg.Store = store
		first, err := driftdb.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		systemtest.Some(t, first, "t", 3)
		time.Sleep(time.Minute)
		away := systemtest.Elsewhere(t, cfg)
		away.Store = inner
		second, err := driftdb.Open(ctx, away)
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		systemtest.Exec(t, second, "INSERT INTO t(v) VALUES('of the new writer')")
		systemtest.Exec(t, first, "INSERT INTO t(v) VALUES('mine')")
		lost := false
		store.SetHook(func(c objstoretest.Call) objstoretest.Fault {
			if lost {
				return objstoretest.Fault{Kind: objstoretest.Fail}
			}
			lost = c.Op == objstoretest.Get // of the manifest, after the swap that failed
			return objstoretest.Fault{}
		})
		time.Sleep(2 * time.Minute)
		if !first.Metrics().Fenced {
			t.Fatalf("not fenced: %+v", first.Metrics())
		}
		store.SetHook(nil)
		time.Sleep(time.Minute)
		if b := systemtest.Backup(t, away).Branches; len(b) != 1 || b[0].To != first.Sequence() {
			t.Errorf("branches %+v", b)
		}
	})
}

// TestBranchBehindABarrier: what follows a barrier that the one who lost has not
// taken a snapshot for is in the branch, too.
func TestBranchBehindABarrier(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Some(t, first, "t", 3)
	systemtest.Check(t, first.Flush(ctx))
	takeOver(t, cfg)
	systemtest.Exec(t, first, "INSERT INTO t(v) VALUES('before the barrier')")
	before := first.Sequence()
	systemtest.Check(t, first.Vacuum(ctx))
	systemtest.Exec(t, first, "INSERT INTO t(v) VALUES('behind the barrier')")
	if err := first.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatalf("flush of the one that lost: %v", err)
	}
	branches := systemtest.Backup(t, cfg).Branches
	if len(branches) != 1 || branches[0].From != 5 || branches[0].To != first.Sequence() {
		t.Fatalf("branches %+v, want one from 5 to %d", branches, first.Sequence())
	}
	equalsBranch(t, cfg, branches[0])
	for sequence, want := range map[int64]error{before: nil, before + 1: driftdb.ErrNoBackup} {
		res, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: filepath.Join(t.TempDir(), "r"), Store: cfg.Store, Branch: branches[0].ID, Sequence: sequence})
		if !errors.Is(err, want) || err == nil && res.Sequence != sequence {
			t.Errorf("sequence %d of the branch: restored %d, %v, want %v", sequence, res.Sequence, err, want)
		}
	}
}

// TestBranchOutlivesItsBase: whoever comes back when the history has long been
// pruned past the point at which he left it leaves a branch that can be restored,
// for as long as every other point; and then nothing.
func TestBranchOutlivesItsBase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cfg := systemtest.Config(t)
		cfg.Retention, cfg.EncryptionKeys = 10*24*time.Hour, []string{systemtest.KeyOf("a5")}
		cfg.SyncInterval = time.Hour
		first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
		systemtest.Some(t, first, "t", 3)
		systemtest.Check(t, first.Flush(ctx))
		second := takeOver(t, cfg)
		daily := func(days int) {
			for range days {
				time.Sleep(24*time.Hour + time.Minute)
				systemtest.Exec(t, second, "INSERT INTO t(v) VALUES('second')")
				_, err := second.Snapshot(ctx)
				systemtest.Check(t, err)
				_, _, err = second.CollectGarbage(ctx)
				systemtest.Check(t, err)
			}
		}
		daily(30)
		if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: filepath.Join(t.TempDir(), "r"), Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys, Sequence: 4}); !errors.Is(err, driftdb.ErrNoBackup) {
			t.Fatalf("the point that both have in common: %v", err)
		}
		systemtest.Exec(t, first, "INSERT INTO t(v) VALUES('late')")
		if err := first.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
			t.Fatalf("flush of the one that lost: %v", err)
		}
		for range 3 {
			branches := systemtest.Backup(t, cfg).Branches
			if len(branches) != 1 || branches[0].NodeID != first.NodeID() || branches[0].To != first.Sequence() {
				t.Fatalf("branches %+v, want one of node %s to %d", branches, first.NodeID(), first.Sequence())
			}
			equalsBranch(t, cfg, branches[0])
			daily(3)
		}
		daily(4)
		if b := systemtest.Backup(t, cfg).Branches; len(b) != 0 {
			t.Errorf("branches out of the window: %+v", b)
		}
		for _, key := range systemtest.Keys(t, cfg.Store) {
			if strings.Contains(key, first.NodeID()) && !strings.HasSuffix(key, "/probe") {
				t.Errorf("%s is left of the one that lost", key)
			}
		}
	})
}

// TestRekeyBranch: a branch with a snapshot of its own gets new keys as well.
func TestRekeyBranch(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	older, newer := systemtest.KeyOf("a5"), systemtest.KeyOf("5a")
	cfg.EncryptionKeys = []string{older}
	first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Some(t, first, "t", 3)
	systemtest.Check(t, first.Flush(ctx))
	second, err := driftdb.Open(ctx, systemtest.Elsewhere(t, cfg))
	systemtest.Check(t, err)
	defer second.Close()
	systemtest.Exec(t, second, "INSERT INTO t(v) VALUES('second')")
	systemtest.Check(t, second.Shutdown(ctx))
	systemtest.Check(t, first.Vacuum(ctx))
	if err := first.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatalf("flush of the one that lost: %v", err)
	}
	for range 2 { // the second time there is nothing to do
		_, err = systemtest.Rekey(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: []string{newer, older}}, nil)
		systemtest.Check(t, err)
	}
	cfg.EncryptionKeys = []string{newer}
	branches := systemtest.Backup(t, cfg).Branches
	if len(branches) != 1 {
		t.Fatalf("branches %+v", branches)
	}
	equalsBranch(t, cfg, branches[0])
}

// TestBranchBesideJunk: a branch is what its own objects make, whatever strangers have
// put beside them; and where nothing of it can be used, that is an error.
func TestBranchBesideJunk(t *testing.T) {
	for _, keys := range [][]string{nil, {systemtest.KeyOf("5e")}} {
		cfg := systemtest.Config(t)
		cfg.NodeID, cfg.EncryptionKeys = "n", keys
		db := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
		systemtest.Some(t, db, "t", 3)
		systemtest.Check(t, db.Flush(t.Context()))
		putBatch(t, cfg) // of a clone: the session is fenced, and its rest a branch of another node
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('mine')")
		if err := db.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) {
			t.Fatal(err)
		}
		var branch driftdb.BranchInfo
		for _, b := range systemtest.Backup(t, cfg).Branches {
			if b.NodeID != "n" {
				branch = b
			}
		}
		folder := "databases/app/nodes/" + branch.NodeID
		put := func(name string, data string) {
			_, err := cfg.Store.Put(t.Context(), folder+name, strings.NewReader(data), objstore.PutOptions{IfAbsent: true})
			systemtest.Check(t, err)
		}
		for _, junk := range []string{"000000000001-000000000099", "000000000006-000000000007"} {
			put(fmt.Sprintf("/branches/%s.e%d.json", junk, branch.Epoch), "{}")
		}
		put(fmt.Sprintf("/logs/000000000005-000000000099.e%d.json", branch.Epoch), "junk")
		equalsBranch(t, cfg, branch)

		folder = "databases/app/nodes/x"
		put("/logs/000000000005-000000000005.e1.json", "junk")
		_, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Path: filepath.Join(t.TempDir(), "x"), Store: cfg.Store, EncryptionKeys: keys, Branch: "x.e1"})
		if !errors.Is(err, driftdb.ErrCorrupt) {
			t.Errorf("a branch that is junk: %v", err)
		}
	}
}
