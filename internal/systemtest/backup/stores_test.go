package backup_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/mounttest"
	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// The disk of the store is unmounted while the database is used, and mounted
// again. The store is the mount point itself, or a folder on the disk.
func TestStoreUnmounted(t *testing.T) {
	if !mounttest.Inside(t) {
		return
	}
	for _, sub := range []string{".", "backup"} {
		t.Run(sub, func(t *testing.T) {
			disk, point := t.TempDir(), t.TempDir()
			if err := os.MkdirAll(filepath.Join(disk, sub), 0o700); err != nil {
				t.Fatal(err)
			}
			mounttest.Bind(t, disk, point)
			t.Cleanup(func() { mounttest.Detach(t, point) })
			storeGoesAway(t, filepath.Join(point, sub), func() (back func()) {
				mounttest.Detach(t, point)
				return func() {
					if left := namesIn(t, point); left != "" {
						t.Errorf("the empty mount point has %q", left)
					}
					mounttest.Bind(t, disk, point)
				}
			})
		})
	}
}

// The same without mounts: another folder, which is empty, takes the place of
// the store's.
func TestStoreFolderReplaced(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a folder that is in use cannot be renamed on Windows")
	}
	folder := filepath.Join(t.TempDir(), "store")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	storeGoesAway(t, folder, func() (back func()) {
		move(folder, folder+".away")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		return func() {
			if left := namesIn(t, folder); left != "" {
				t.Errorf("the other folder has %q", left)
			}
			move(folder, folder+".empty")
			move(folder+".away", folder)
		}
	})
}

// storeGoesAway writes to a database before, while and after its store is away.
func storeGoesAway(t *testing.T, folder string, goAway func() (back func())) {
	store, err := objstore.Dir(folder)
	if err != nil {
		t.Fatal(err)
	}
	cfg := systemtest.Config(t)
	cfg.Store, cfg.ManualSync = store, false
	cfg.SyncInterval, cfg.ManifestInterval = 20*time.Millisecond, 20*time.Millisecond
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1)
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}

	back := goAway()
	systemtest.Some(t, db, "t", 1)
	systemtest.Eventually(t, "sync tells that the store is away, again and again", func() bool { return db.Metrics().SyncErrors >= 3 })
	m := db.Metrics()
	if !errors.Is(m.LastError, objstore.ErrNoBucket) || errors.Is(m.LastError, fs.ErrNotExist) || m.Fenced || !m.IsRunning {
		t.Errorf("without the store: fenced %v, running %v, %v", m.Fenced, m.IsRunning, m.LastError)
	}
	if err := db.Flush(t.Context()); !errors.Is(err, objstore.ErrNoBucket) {
		t.Errorf("Flush without the store: %v", err)
	}
	systemtest.Some(t, db, "t", 1)

	back()
	systemtest.Some(t, db, "t", 1)
	if err := db.Flush(t.Context()); err != nil {
		t.Errorf("Flush with the store: %v", err)
	}
	if m := db.Metrics(); m.LastError != nil || m.PendingChanges != 0 || m.Fenced {
		t.Errorf("with the store: %+v", m)
	}
	if n := systemtest.Count(t, db, "t"); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
}

// namesIn are the names in a folder.
func namesIn(t *testing.T, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// The shared credentials file is rotated under a running program. The upload
// that the service refuses for the old key goes through with the new one.
func TestRotatedCredentials(t *testing.T) {
	server := s3test.Start(t)
	for code, status := range map[string]int{"ExpiredToken": 400, "InvalidAccessKeyId": 403} {
		t.Run(code, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
			t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "none"))
			for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} {
				t.Setenv(name, "")
			}
			rotate := func(key string) {
				t.Helper()
				text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = s\naws_session_token = t\n", key)
				temp := filepath.Join(dir, "new")
				if err := errors.Join(os.WriteFile(temp, []byte(text), 0o600), os.Rename(temp, filepath.Join(dir, "credentials"))); err != nil {
					t.Fatal(err)
				}
			}
			rotate("AKIAOLD")
			gate := systemtest.NewS3Gate(t, server)
			cfg := gate.Config(t)
			cfg.S3.AccessKeyID, cfg.S3.SecretAccessKey = "", ""
			db := systemtest.Open(t, cfg)
			systemtest.Some(t, db, "t", 1)
			if err := db.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}

			rotate("AKIANEW")
			var refused atomic.Int64
			gate.Refuse(func(r systemtest.S3Request) *systemtest.S3Refusal {
				if r.AccessKey != "AKIAOLD" {
					return nil
				}
				refused.Add(1)
				return &systemtest.S3Refusal{Status: status, Code: code}
			})
			systemtest.Some(t, db, "t", 1)
			if err := db.Flush(t.Context()); err != nil {
				t.Errorf("flush: %v", err)
			}
			if m := db.Metrics(); m.PendingChanges != 0 || m.SyncErrors != 0 || m.LastError != nil {
				t.Errorf("after the rotation: %+v", m)
			}
			if refused.Load() != 1 {
				t.Errorf("%d requests were refused, want 1", refused.Load())
			}
		})
	}
}

// Without the right to list the bucket, S3 says of a key that is missing that
// reading it is forbidden. The error names that right.
func TestPolicyWithoutListBucket(t *testing.T) {
	gate := systemtest.NewS3Gate(t, s3test.Start(t))
	limited := func(r systemtest.S3Request) *systemtest.S3Refusal {
		if r.IsList || (r.Method == "GET" || r.Method == "HEAD") && gate.IsMissing(t, r) {
			return &systemtest.S3Refusal{Status: 403, Code: "AccessDenied"}
		}
		return nil
	}
	cfg := gate.Config(t)
	restored := driftdb.RestoreConfig{Name: cfg.Name, Path: filepath.Join(t.TempDir(), "r"), S3: cfg.S3}

	gate.Refuse(limited)
	_, err := driftdb.Restore(t.Context(), restored)
	wantForbidden(t, "restore of nothing", err, "s3:GetObject, and s3:ListBucket")
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1)
	wantForbidden(t, "flush", db.Flush(t.Context()), "s3:GetObject, and s3:ListBucket")
	wantForbidden(t, "LastError", db.Metrics().LastError, "s3:GetObject, and s3:ListBucket")

	gate.Refuse(nil)
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	gate.Refuse(limited)
	_, err = driftdb.Restore(t.Context(), restored)
	wantForbidden(t, "restore", err, "allows s3:ListBucket")
	gate.Refuse(nil)
}

// A bucket refuses what is not put with the encryption that its policy demands.
// The error names the setting, and with that everything goes through.
func TestPolicyDemandsEncryption(t *testing.T) {
	gate := systemtest.NewS3Gate(t, s3test.Start(t))
	gate.Refuse(func(r systemtest.S3Request) *systemtest.S3Refusal {
		query := r.URL.Query() // the parts of an upload have what it began with
		stores := r.Method == "PUT" && !query.Has("partNumber") || query.Has("uploads")
		if stores && r.Header.Get("X-Amz-Server-Side-Encryption") != "aws:kms" {
			return &systemtest.S3Refusal{Status: 403, Code: "AccessDenied"}
		}
		return nil
	})
	cfg := gate.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1)
	err := db.Flush(t.Context())
	wantForbidden(t, "flush", err, "ServerSideEncryption")
	wantForbidden(t, "flush", err, "?sse=")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	demanded := *cfg.S3
	demanded.ServerSideEncryption, demanded.KMSKeyID, demanded.StorageClass = "aws:kms", "alias/backups", "STANDARD_IA"
	cfg.S3 = &demanded
	db = systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1)
	if err := db.Flush(t.Context()); err != nil {
		t.Errorf("with the setting: %v", err)
	}
	if _, err := db.Snapshot(t.Context()); err != nil {
		t.Errorf("with the setting: %v", err)
	}
	gate.Refuse(nil) // the first one knows no encryption
}

func wantForbidden(t *testing.T, what string, err error, hint string) {
	t.Helper()
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), hint) {
		t.Errorf("%s: %v, want permission denied and a hint at %s", what, err, hint)
	}
}

// Settings that cannot be are refused by Open, before anything is made.
func TestS3Settings(t *testing.T) {
	for want, s3 := range map[string]driftdb.S3Config{
		"ServerSideEncryption": {Bucket: "b", Region: "r", ServerSideEncryption: "yes"},
		"KMSKeyID needs":       {Bucket: "b", Region: "r", KMSKeyID: "k"},
		"DEEP_ARCHIVE":         {Bucket: "b", Region: "r", StorageClass: "DEEP_ARCHIVE"},
		"SessionToken":         {Bucket: "b", Region: "r", SessionToken: "t"},
	} {
		_, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: "app", Path: filepath.Join(t.TempDir(), "r"), S3: &s3})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s3, err, want)
		}
	}
}
