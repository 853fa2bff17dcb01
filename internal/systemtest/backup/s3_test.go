package backup_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestS3 takes the whole way over a real S3 server: write, sync in the
// background, snapshot, lose the disk, restore, go on.
func TestS3(t *testing.T) {
	for name, opts := range map[string][]s3test.Option{"http": nil, "https": {s3test.TLS()}} {
		t.Run(name, func(t *testing.T) {
			server := s3test.Start(t, opts...)
			if server.CACert != "" {
				t.Setenv("AWS_CA_BUNDLE", server.CACert)
			}
			s3 := &driftdb.S3Config{
				Bucket: server.NewBucket(t), Region: server.Region, Endpoint: server.Endpoint,
				AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey,
			}
			wholePath(t, s3)
			t.Run("refusals", func(t *testing.T) { s3Refusals(t, *s3) })
		})
	}
}

func wholePath(t *testing.T, s3 *driftdb.S3Config) {
	ctx := t.Context()
	cfg := driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "a.sqlite"), S3: s3, SyncInterval: 20 * time.Millisecond}
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 50)
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	systemtest.Exec(t, db, "UPDATE t SET v = upper(v); DELETE FROM t WHERE id % 5 = 0; CREATE INDEX i ON t(v)")
	if err := db.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	lost := cfg.Path
	cfg.Path, cfg.AutoRestore = filepath.Join(t.TempDir(), "b.sqlite"), true
	again := systemtest.Open(t, cfg)
	dbtest.Equal(t, lost, cfg.Path)
	systemtest.Exec(t, again, "INSERT INTO t(v) VALUES('after')") // compared with a free copy at the end
}

// s3Refusals: a bucket that cannot be used is a clear error where somebody
// waits for it, and never keeps the database from working.
func s3Refusals(t *testing.T, good driftdb.S3Config) {
	for name, c := range map[string]struct {
		change func(*driftdb.S3Config)
		is     error
		want   string
	}{
		"wrong secret":   {func(c *driftdb.S3Config) { c.SecretAccessKey = "wrong" }, fs.ErrPermission, good.Bucket},
		"unknown key":    {func(c *driftdb.S3Config) { c.AccessKeyID = "nobody" }, fs.ErrPermission, good.Bucket},
		"missing bucket": {func(c *driftdb.S3Config) { c.Bucket = "no-such-bucket" }, objstore.ErrNoBucket, "no-such-bucket"},
		"unreachable":    {func(c *driftdb.S3Config) { c.Endpoint = "http://127.0.0.1:1" }, nil, "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s3 := good
			c.change(&s3)
			db, err := driftdb.Open(ctx, driftdb.Config{
				Name: "refused", Path: filepath.Join(t.TempDir(), "x.sqlite"), S3: &s3,
				Retry: driftdb.RetryPolicy{MaxRetries: -1},
			})
			if err != nil {
				t.Fatalf("the database does not open: %v", err)
			}
			defer db.Close()
			systemtest.Some(t, db, "t", 1)
			err = db.Flush(ctx)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("flush: %v", err)
			}
			if err != nil && strings.Contains(err.Error(), good.SecretAccessKey) {
				t.Error("the error tells the secret key")
			}
			if m := db.Metrics(); m.LastError == nil || m.PendingChanges != 2 {
				t.Errorf("metrics: %+v", m)
			}
		})
	}
}
