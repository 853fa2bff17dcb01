package driftdb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestBackup: each method of a backup, on a folder and on an S3 server, with and without
// the database.
func TestBackup(t *testing.T) {
	t.Run("folder", func(t *testing.T) {
		store, err := objstore.Dir(t.TempDir())
		systemtest.Check(t, err)
		testBackup(t, driftdb.Config{Store: store})
	})
	t.Run("S3", func(t *testing.T) {
		gate := systemtest.NewS3Gate(t, s3test.Start(t))
		var clients remotes
		gate.Refuse(clients.note)
		b := testBackup(t, driftdb.Config{S3: gate.Config(t).S3})
		// One client has one pool of connections, and one request at a time needs one of it.
		clients.forget()
		for range 3 {
			systemtest.Must(b.Info(t.Context()))
			systemtest.Must(b.Garbage(t.Context(), 0))
		}
		if n := clients.forget(); n > 1 {
			t.Errorf("%d connections for requests that come one after the other", n)
		}
	})
}

// remotes counts the connections that requests come by.
type remotes struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (r *remotes) note(req systemtest.S3Request) *systemtest.S3Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	r.seen[req.RemoteAddr] = true
	return nil
}

func (r *remotes) forget() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, r.seen = len(r.seen), nil
	return n
}

func testBackup(t *testing.T, cfg driftdb.Config) *driftdb.Backup {
	ctx := t.Context()
	older, newer := systemtest.KeyOf("older"), systemtest.KeyOf("newer")
	cfg.Name, cfg.Path, cfg.ManualSync, cfg.EncryptionKeys = "app", filepath.Join(t.TempDir(), "app.sqlite"), true, []string{older}
	place := driftdb.BackupConfig{Name: cfg.Name, S3: cfg.S3, Store: cfg.Store, EncryptionKeys: []string{newer, older}}
	if _, err := driftdb.OpenBackup(ctx, place); !errors.Is(err, driftdb.ErrNoBackup) {
		t.Errorf("before there is one: %v", err)
	}
	if names, err := driftdb.ListBackups(ctx, place); err != nil || len(names) != 0 {
		t.Errorf("before there is one: %q, %v", names, err)
	}

	db, err := driftdb.Open(ctx, cfg)
	systemtest.Check(t, err)
	defer db.Close()
	systemtest.Some(t, db, "t", 5)
	systemtest.Must(db.Snapshot(ctx))
	systemtest.Exec(t, db, "UPDATE t SET v = 'changed' WHERE id = 2")
	systemtest.Check(t, db.Flush(ctx))
	last := db.Sequence()

	if names, err := driftdb.ListBackups(ctx, place); err != nil || !slices.Equal(names, []string{"app"}) {
		t.Errorf("backups: %q, %v", names, err)
	}
	strange := place
	strange.EncryptionKeys = []string{systemtest.KeyOf("another")}
	if _, err := driftdb.OpenBackup(ctx, strange); !errors.Is(err, driftdb.ErrKey) {
		t.Errorf("with another key: %v", err)
	}
	b, err := driftdb.OpenBackup(ctx, place)
	systemtest.Check(t, err)
	// The database's own has its older key, so it comes before the rekey.
	for who, b := range map[string]*driftdb.Backup{"the database's": db.Backup(), "the backup": b} {
		readBackup(t, who, b, cfg.Path, last)
	}

	systemtest.Check(t, db.Close())
	progress := 0
	res, err := b.Rekey(ctx, func(driftdb.RekeyResult) { progress++ })
	if err != nil || res.Changed == 0 || res.Changed != res.Objects || progress == 0 {
		t.Errorf("rekey: %+v, %v, told %d times", res, err, progress)
	}
	place.EncryptionKeys = []string{newer}
	alone, err := driftdb.OpenBackup(ctx, place)
	systemtest.Check(t, err)
	if res, err := alone.Verify(ctx, driftdb.RestoreOptions{}); err != nil || res.Sequence != last {
		t.Errorf("with the new key alone: %+v, %v", res, err)
	}
	if _, err := b.RekeyAfterLeak(ctx, nil); err != nil {
		t.Errorf("rekey after a leak: %v", err)
	}
	if _, err := alone.RekeyAfterLeak(ctx, nil); !errors.Is(err, driftdb.ErrKey) {
		t.Errorf("rekey after a leak with one key: %v", err)
	}
	if _, err := driftdb.Repair(ctx, place, driftdb.RepairOptions{}); err == nil || !strings.Contains(err.Error(), "nothing to repair") {
		t.Errorf("repair of what is whole: %v", err)
	}
	return b
}

// readBackup calls what only reads. The table t of the database in file has been changed
// last by the change last; the one before is in the only snapshot.
func readBackup(t *testing.T, who string, b *driftdb.Backup, file string, last int64) {
	ctx := t.Context()
	info, err := b.Info(ctx)
	if err != nil || info.Name != "app" || info.Sequence != last || len(info.Snapshots) == 0 || info.Objects == 0 {
		t.Errorf("%s: info %+v, %v", who, info, err)
	}
	if got := systemtest.Sequences(t, b.Changes(ctx, driftdb.ChangeQuery{From: last - 1})); !slices.Equal(got, []int64{last - 1, last}) {
		t.Errorf("%s: changes %d", who, got)
	}
	path, stages := filepath.Join(t.TempDir(), "restored.sqlite"), map[driftdb.Stage]driftdb.Progress{}
	res, err := b.Restore(ctx, path, driftdb.RestoreOptions{OnProgress: func(p driftdb.Progress) { stages[p.Stage] = p }})
	fetched := stages[driftdb.StageSnapshot] // the last time
	if err != nil || res.Sequence != last || fetched.Total == 0 || fetched.Done != fetched.Total {
		t.Errorf("%s: restore %+v, %v, told of %v", who, res, err, stages)
	} else {
		dbtest.Equal(t, file, path)
	}
	if _, err := b.Restore(ctx, path, driftdb.RestoreOptions{}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%s: a file that is there: %v", who, err)
	}
	early := driftdb.RestoreOptions{At: driftdb.Point{Sequence: last - 1}, Overwrite: true}
	if r, err := b.Restore(ctx, path, early); err != nil || r.Sequence != last-1 {
		t.Errorf("%s: before the last change: %+v, %v", who, r, err)
	}
	early.At = driftdb.Point{Time: time.Now().Add(-time.Hour)}
	if _, err := b.Restore(ctx, path, early); !errors.Is(err, driftdb.ErrNoBackup) {
		t.Errorf("%s: before all changes: %v", who, err)
	}
	for what, o := range map[string]driftdb.RestoreOptions{
		"both":     {At: driftdb.Point{Sequence: 1, Time: time.Now()}},
		"negative": {At: driftdb.Point{Sequence: -1}},
		"branch":   {Branch: "nobody.e1"},
		"seen":     {Seen: driftdb.Confirmation{Sequence: 1}},
	} {
		if _, err := b.Verify(ctx, o); err == nil {
			t.Errorf("%s: verify with %s: no error", who, what)
		}
	}
	v, err := b.Verify(ctx, driftdb.RestoreOptions{Seen: res.Confirmed})
	if err != nil || v.Sequence != last || v.Rows != res.Rows || v.Confirmed != res.Confirmed {
		t.Errorf("%s: verify %+v, %v; restored %+v", who, v, err, res)
	}
	if list, err := b.Garbage(ctx, 0); err != nil || len(list) != 0 {
		t.Errorf("%s: garbage %+v, %v", who, list, err)
	}
}

// TestBackupRequests: what a handle costs, beside a door of its own for each call: the
// manifest once more, and nothing else.
func TestBackupRequests(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 5)
	systemtest.Must(db.Snapshot(ctx))
	store := objstoretest.Count(cfg.Store)
	requests := func(fn func(place driftdb.BackupConfig)) (gets, lists int) {
		before := [2]int{store.Tally(objstoretest.Get).Calls, store.Tally(objstoretest.List).Calls}
		fn(driftdb.BackupConfig{Name: cfg.Name, Store: store})
		return store.Tally(objstoretest.Get).Calls - before[0], store.Tally(objstoretest.List).Calls - before[1]
	}
	restored := filepath.Join(t.TempDir(), "restored.sqlite")
	for _, c := range []struct {
		what        string
		gets, lists int
		do          func(driftdb.BackupConfig) error
	}{
		{"ListBackups", 0, 2, func(c driftdb.BackupConfig) error { _, err := driftdb.ListBackups(ctx, c); return err }},
		{"OpenBackup", 1, 0, func(c driftdb.BackupConfig) error { _, err := driftdb.OpenBackup(ctx, c); return err }},
		{"OpenBackup, Info", 2, 3, func(c driftdb.BackupConfig) error { _, err := systemtest.InfoOf(ctx, c); return err }},
		{"OpenBackup, Info, Restore", 4, 4, func(c driftdb.BackupConfig) error {
			b, err := driftdb.OpenBackup(ctx, c)
			if err == nil {
				_, err = b.Info(ctx)
			}
			if err == nil {
				_, err = b.Restore(ctx, restored, driftdb.RestoreOptions{Overwrite: true})
			}
			return err
		}},
		{"Restore", 2, 1, func(c driftdb.BackupConfig) error {
			_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: c.Name, Store: c.Store, Path: restored, Overwrite: true})
			return err
		}},
	} {
		gets, lists := requests(func(place driftdb.BackupConfig) { systemtest.Check(t, c.do(place)) })
		if gets != c.gets || lists != c.lists {
			t.Errorf("%s: %d GET and %d LIST, want %d and %d", c.what, gets, lists, c.gets, c.lists)
		}
	}
}

// TestBackupRetries: BackupConfig.Retry says how often each method repeats what fails.
func TestBackupRetries(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.EncryptionKeys = []string{systemtest.KeyOf("key")}
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 5)
	systemtest.Must(db.Snapshot(ctx))
	for what, do := range map[string]func(driftdb.BackupConfig, *driftdb.Backup) error{
		"ListBackups": func(c driftdb.BackupConfig, _ *driftdb.Backup) error {
			_, err := driftdb.ListBackups(ctx, c)
			return err
		},
		"OpenBackup": func(c driftdb.BackupConfig, _ *driftdb.Backup) error {
			_, err := driftdb.OpenBackup(ctx, c)
			return err
		},
		"Repair": func(c driftdb.BackupConfig, _ *driftdb.Backup) error {
			if _, err := driftdb.Repair(ctx, c, driftdb.RepairOptions{}); !strings.Contains(err.Error(), "nothing to repair") {
				return err
			}
			return nil
		},
		"Info":    func(_ driftdb.BackupConfig, b *driftdb.Backup) error { _, err := b.Info(ctx); return err },
		"Garbage": func(_ driftdb.BackupConfig, b *driftdb.Backup) error { _, err := b.Garbage(ctx, 0); return err },
		"Rekey":   func(_ driftdb.BackupConfig, b *driftdb.Backup) error { _, err := b.Rekey(ctx, nil); return err },
		"Verify": func(_ driftdb.BackupConfig, b *driftdb.Backup) error {
			_, err := b.Verify(ctx, driftdb.RestoreOptions{})
			return err
		},
		"Restore": func(_ driftdb.BackupConfig, b *driftdb.Backup) error {
			_, err := b.Restore(ctx, filepath.Join(t.TempDir(), "r.sqlite"), driftdb.RestoreOptions{})
			return err
		},
		"Changes": func(_ driftdb.BackupConfig, b *driftdb.Backup) error {
			for _, err := range b.Changes(ctx, driftdb.ChangeQuery{}) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		for retries, want := range map[int]bool{-1: false, 1: false, 5: true} {
			var failures atomic.Int32 // yet to come, one after the other
			place := driftdb.BackupConfig{
				Name: cfg.Name, EncryptionKeys: cfg.EncryptionKeys,
				Retry: driftdb.RetryPolicy{MaxRetries: retries, BaseDelay: time.Microsecond},
				Store: objstoretest.Break(cfg.Store, func(objstoretest.Call) objstoretest.Fault {
					if failures.Add(-1) >= 0 {
						return objstoretest.Fault{Kind: objstoretest.Fail, Err: errors.New("try again")}
					}
					return objstoretest.Fault{}
				}),
			}
			b, err := driftdb.OpenBackup(ctx, place)
			systemtest.Check(t, err)
			failures.Store(2)
			if err := do(place, b); (err == nil) != want {
				t.Errorf("%s with %d retries from a store that fails twice: %v", what, retries, err)
			}
		}
	}
}

// TestBackupLogs: what a restore can do without is told to the logger.
func TestBackupLogs(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	info := systemtest.Must(db.Snapshot(ctx))
	systemtest.Check(t, cfg.Store.Delete(ctx, info.Key))
	var log bytes.Buffer
	b, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	systemtest.Check(t, err)
	if res, err := b.Restore(ctx, filepath.Join(t.TempDir(), "r.sqlite"), driftdb.RestoreOptions{}); err != nil || len(res.Damaged) != 1 {
		t.Fatalf("restore: %+v, %v", res, err)
	}
	if s := log.String(); !strings.Contains(s, info.Key) || !strings.Contains(s, "database=app") || strings.Count(s, "\n") != 1 {
		t.Errorf("the log says %q", s)
	}
	if _, err := b.Verify(ctx, driftdb.RestoreOptions{}); !errors.Is(err, driftdb.ErrCorrupt) {
		t.Errorf("verify: %v", err)
	}
	systemtest.Must(db.Snapshot(ctx)) // for the comparison at the end
}

// TestNoStore: without a store, what needs one says so.
func TestNoStore(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.Store = nil
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1)
	b := db.Backup()
	for what, do := range map[string]func() error{
		"Flush":          func() error { return db.Flush(ctx) },
		"Snapshot":       func() error { _, err := db.Snapshot(ctx); return err },
		"CollectGarbage": func() error { _, _, err := db.CollectGarbage(ctx); return err },
		"Info":           func() error { _, err := b.Info(ctx); return err },
		"Restore":        func() error { _, err := b.Restore(ctx, cfg.Path+"-r", driftdb.RestoreOptions{}); return err },
		"Verify":         func() error { _, err := b.Verify(ctx, driftdb.RestoreOptions{}); return err },
		"Garbage":        func() error { _, err := b.Garbage(ctx, 0); return err },
		"Rekey":          func() error { _, err := b.Rekey(ctx, nil); return err },
		"RekeyAfterLeak": func() error { _, err := b.RekeyAfterLeak(ctx, nil); return err },
		"ListBackups":    func() error { _, err := driftdb.ListBackups(ctx, driftdb.BackupConfig{}); return err },
		"OpenBackup":     func() error { _, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: "app"}); return err },
		"Restore()": func() error {
			_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Path: "r"})
			return err
		},
		"Repair": func() error {
			_, err := driftdb.Repair(ctx, driftdb.BackupConfig{Name: "app"}, driftdb.RepairOptions{})
			return err
		},
		"Changes": func() error {
			for _, err := range b.Changes(ctx, driftdb.ChangeQuery{}) {
				return err
			}
			return nil
		},
	} {
		if err := do(); !errors.Is(err, driftdb.ErrNoStore) || strings.Count(err.Error(), "driftdb:") != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := len(systemtest.Sequences(t, db.Changes(ctx, driftdb.ChangeQuery{}))); n != 2 {
		t.Errorf("the log has %d changes", n)
	}
}

// TestBackupOfReader: a database that is open for reading only can be asked for its
// backup, and for the changes that its file has no more.
func TestBackupOfReader(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	w := systemtest.Open(t, cfg)
	systemtest.Some(t, w, "t", 5)
	systemtest.Check(t, w.Flush(ctx)) // trims the log
	r := systemtest.MustRead(t, cfg)
	if got := systemtest.Sequences(t, r.Changes(ctx, driftdb.ChangeQuery{})); int64(len(got)) != w.Sequence() {
		t.Errorf("changes %d", got)
	}
	if info, err := r.Backup().Info(ctx); err != nil || info.Sequence != w.Sequence() {
		t.Errorf("info: %+v, %v", info, err)
	}
}

// TestBackupConfigErrors: what is wrong with a configuration is an error before any request.
func TestBackupConfigErrors(t *testing.T) {
	good := driftdb.BackupConfig{Name: "app", Store: objstore.Mem()}
	for want, change := range map[string]func(*driftdb.BackupConfig){
		"Name":     func(c *driftdb.BackupConfig) { c.Name = "a/b" },
		"both S3":  func(c *driftdb.BackupConfig) { c.S3 = &driftdb.S3Config{Bucket: "b"} },
		"negative": func(c *driftdb.BackupConfig) { c.Retry.MaxDelay = -1 },
		"key":      func(c *driftdb.BackupConfig) { c.EncryptionKeys = []string{"short"} },
	} {
		cfg := good
		change(&cfg)
		_, err := driftdb.OpenBackup(context.Background(), cfg)
		if err == nil || errors.Is(err, driftdb.ErrNoBackup) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if s := fmt.Sprintf("%+v", driftdb.BackupConfig{EncryptionKeys: []string{systemtest.KeyOf("printed")}}); strings.Contains(s, systemtest.KeyOf("printed")) {
		t.Errorf("printed: %s", s)
	}
}
