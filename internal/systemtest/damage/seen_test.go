package damage_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestSeen: who knows a point of a backup notices an older state of the bucket, and a
// branch or an earlier point is no such thing.
func TestSeen(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.EncryptionKeys = []string{strings.Repeat("5e", 32)}
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, db.Flush(ctx))
	older := systemtest.BucketOf(t, cfg.Store)[systemtest.TheManifest]
	rc := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys}
	first, err := driftdb.Verify(ctx, rc)
	systemtest.Check(t, err)
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('newest')")
	systemtest.Check(t, db.Flush(ctx))
	rc.Seen = first.Confirmed
	second, err := driftdb.Verify(ctx, rc)
	systemtest.Check(t, err)
	if second.Confirmed.Sequence != db.Sequence() || first.Confirmed.Sequence >= second.Confirmed.Sequence || second.Confirmed.Epoch != 1 {
		t.Fatalf("confirmed: %+v, then %+v", first.Confirmed, second.Confirmed)
	}
	rc.Seen, rc.Sequence = second.Confirmed, 2
	if res, err := driftdb.Verify(ctx, rc); err != nil || res.Confirmed != second.Confirmed {
		t.Errorf("an earlier point: %+v, %v", res, err)
	}
	rc.Sequence = 0

	rolledBack := rc
	back := systemtest.BucketOf(t, cfg.Store)
	back[systemtest.TheManifest] = older
	rolledBack.Store, rolledBack.Path = back.Store(t), filepath.Join(t.TempDir(), "r.sqlite")
	_, err = driftdb.Verify(ctx, rolledBack)
	if !errors.Is(err, driftdb.ErrRolledBack) || errors.Is(err, driftdb.ErrCorrupt) {
		t.Errorf("verify of an older state: %v", err)
	}
	if _, err = driftdb.Restore(ctx, rolledBack); !errors.Is(err, driftdb.ErrRolledBack) {
		t.Errorf("restore of an older state: %v", err)
	}
	if _, err := os.Stat(rolledBack.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file of it: %v", err)
	}
	for _, bad := range []driftdb.Confirmation{{Sequence: 1}, {Epoch: 1, Sequence: -1, Chain: first.Confirmed.Chain}, {Epoch: 1, Sequence: 1, Chain: "xyz"}} {
		rc.Seen = bad
		if _, err := driftdb.Verify(ctx, rc); err == nil || !strings.Contains(err.Error(), "Seen") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestLeakedKey: after RekeyAfterLeak what the leaked key has sealed counts no more, for who
// has the new key alone: not a manifest of former times, nor a new one.
func TestLeakedKey(t *testing.T) {
	ctx := t.Context()
	leaked, fresh := strings.Repeat("0a", 32), strings.Repeat("0b", 32)
	cfg := systemtest.Config(t)
	cfg.EncryptionKeys = []string{leaked}
	db, err := driftdb.Open(ctx, cfg)
	systemtest.Check(t, err)
	systemtest.Some(t, db, "t", 3)
	_, err = db.Snapshot(ctx)
	systemtest.Check(t, err)
	systemtest.Check(t, db.Shutdown(ctx))
	former := systemtest.BucketOf(t, cfg.Store)

	rc := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: []string{leaked}}
	if _, err := systemtest.RekeyAfterLeak(ctx, systemtest.BackupOf(rc)); !errors.Is(err, driftdb.ErrKey) {
		t.Errorf("without a new key: %v", err)
	}
	rc.EncryptionKeys = []string{fresh, leaked}
	res, err := systemtest.RekeyAfterLeak(ctx, systemtest.BackupOf(rc))
	if err != nil || res.Changed == 0 || res.Changed != res.Objects || len(res.Left) > 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	rc.EncryptionKeys = []string{fresh}
	proven, err := driftdb.Verify(ctx, rc)
	systemtest.Check(t, err)
	for key, object := range former { // whatever of it is put back
		if strings.HasSuffix(key, "/probe") {
			continue
		}
		now := systemtest.BucketOf(t, cfg.Store)
		now[key] = object
		alone := rc
		alone.Store = now.Store(t)
		res, err := driftdb.Verify(ctx, alone)
		if !errors.Is(err, driftdb.ErrKey) && !errors.Is(err, driftdb.ErrCorrupt) && (err != nil || res.Sequence != proven.Sequence) {
			t.Errorf("%s, of before: %+v, %v", key, res, err)
		}
		if key == systemtest.TheManifest && !errors.Is(err, driftdb.ErrKey) {
			t.Errorf("the manifest of before: %v", err)
		}
	}
	cfg.EncryptionKeys = []string{fresh}
	db = systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('goes on')")
	systemtest.Check(t, db.Flush(ctx))
	for key, object := range systemtest.BucketOf(t, cfg.Store) {
		if !strings.HasSuffix(key, "/probe") && !bytes.HasPrefix(object, []byte("DRIFTENC")) {
			t.Errorf("%s is not encrypted", key)
		}
	}
}
