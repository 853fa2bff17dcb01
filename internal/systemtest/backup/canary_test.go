package backup_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// The canaries: secrets that can be recognized. Nothing else has a part of one.
const (
	firstCanary    = "ca9a51ca9a52ca9a53ca9a54ca9a55ca9a56ca9a57ca9a58ca9a59ca9a5aca9a"
	secondCanary   = "1f8e6b52d7c903a4e5b61d2c7f90a83b4c5d6e7f8091a2b3c4d5e6f708192a3b"
	wrongCanary    = "d00fd11fd22fd33fd44fd55fd66fd77fd88fd99fdaafdbbfdccfddd0deefdff1"
	secretCanary   = "Sk/7qPz+Vw3Lk9sXe2Rt8Yb5Nd1Gh4Jf6Mc0Ua"
	tokenCanary    = "Tk/4mWn+Hb8Zs2Qx6Vy1Pc9Ld3Fj7Kg5Rt0EaUo"
	passwordCanary = "Pw-9zXc4Vb6Nm1As3Df5Gh7Jk2Lq8Wer"
)

// TestCanary leads a whole life with keys and credentials that can be recognized, and
// finds none of them in what came out: logs, events, errors, results, output, requests,
// files at every upload and every step of a restore, and objects, opened ones too.
func TestCanary(t *testing.T) {
	ctx := t.Context()
	gate := systemtest.NewS3Gate(t, s3test.Start(t))
	w := newWatch(t, map[string]string{
		"first key": firstCanary, "second key": secondCanary, "wrong key": wrongCanary,
		"S3 secret": secretCanary, "session token": tokenCanary, "password": passwordCanary,
	})
	gate.Refuse(w.request)
	cfg := gate.Config(t)
	cfg.Path, cfg.Logger, cfg.OnEvent = filepath.Join(w.folder, "app.sqlite"), w.log, w.event
	cfg.S3.SecretAccessKey, cfg.S3.SessionToken, cfg.EncryptionKeys = secretCanary, tokenCanary, []string{firstCanary}
	db, err := driftdb.Open(ctx, cfg)
	systemtest.Check(t, err)
	systemtest.Some(t, db, "t", 20)
	w.succeeds(nil, db.Flush(ctx))
	w.succeeds(db.Snapshot(ctx))
	systemtest.Some(t, db, "t", 5)
	w.succeeds(db.Metrics(), db.Flush(ctx))
	w.printed("the configuration", cfg)
	w.bucket(gate, cfg)
	w.succeeds(nil, db.Shutdown(ctx))
	w.printed("the database", db) // fmt reads it without its locks: not while it works

	cfg.EncryptionKeys = []string{secondCanary, firstCanary}
	db = systemtest.Open(t, cfg)
	systemtest.Some(t, db, "u", 3)
	w.succeeds(nil, db.Flush(ctx))
	rc := driftdb.RestoreConfig{
		Name: cfg.Name, Path: filepath.Join(w.folder, "restored.sqlite"), S3: cfg.S3, EncryptionKeys: cfg.EncryptionKeys,
		OnProgress: w.progress,
	}
	w.succeeds(systemtest.Rekey(ctx, systemtest.BackupOf(rc), func(r driftdb.RekeyResult) { w.printed("progress", r) }))
	w.succeeds(driftdb.Restore(ctx, rc))
	w.succeeds(driftdb.Verify(ctx, rc))
	w.succeeds(systemtest.InfoOf(ctx, systemtest.BackupOf(rc)))
	for c, err := range systemtest.ChangesOf(ctx, systemtest.BackupOf(rc), driftdb.ChangeQuery{}) {
		w.succeeds(c, err)
	}
	w.bucket(gate, cfg)
	canaryRefusals(t, w, gate, cfg, rc)
	w.succeeds(db.Metrics(), db.Close())
	w.bucket(gate, cfg)
	if !w.tokenSent.Load() || w.opened == 0 {
		t.Errorf("the session token was sent: %v; objects opened: %d; this test sees nothing", w.tokenSent.Load(), w.opened)
	}
}

// canaryRefusals is what goes wrong with secrets in hand.
func canaryRefusals(t *testing.T, w *watch, gate *systemtest.S3Gate, cfg driftdb.Config, rc driftdb.RestoreConfig) {
	ctx := t.Context()
	for name, keys := range map[string][]string{
		"a wrong key": {wrongCanary}, "no key": nil, "a key that is too long": {wrongCanary + "0"},
		"a key that is not hex": {wrongCanary[:60] + "wxyz"}, "a key twice": {wrongCanary, wrongCanary},
	} {
		rc := rc
		rc.EncryptionKeys, rc.Overwrite = keys, true
		_, err := driftdb.Restore(ctx, rc)
		w.fails("restore with "+name, err, driftdb.ErrKey)
		_, err = systemtest.Rekey(ctx, systemtest.BackupOf(rc), nil)
		w.fails("rekey with "+name, err, driftdb.ErrKey)
		_, err = systemtest.InfoOf(ctx, systemtest.BackupOf(rc))
		w.fails("backup with "+name, err, driftdb.ErrKey)
	}
	_, err := driftdb.Restore(ctx, rc)
	w.fails("restore over a file", err, fs.ErrExist)
	for name, c := range map[string]struct {
		change func(*driftdb.Config)
		is     error
	}{
		"a wrong key":    {func(c *driftdb.Config) { c.EncryptionKeys = []string{wrongCanary} }, driftdb.ErrKey},
		"a wrong bucket": {func(c *driftdb.Config) { c.S3.Bucket, c.S3.Endpoint = "no-such-bucket", gate.Url }, objstore.ErrNoBucket},
		"a wrong secret": {func(c *driftdb.Config) { c.S3.Endpoint, c.S3.SessionToken = gate.Server.Endpoint, "" }, fs.ErrPermission},
		"a wrong token":  {func(c *driftdb.Config) { c.S3.Endpoint = gate.Server.Endpoint }, fs.ErrPermission},
		"nobody there":   {func(c *driftdb.Config) { c.S3.Endpoint = "http://user:" + passwordCanary + "@127.0.0.1:1" }, nil},
		"no endpoint":    {func(c *driftdb.Config) { c.S3.Endpoint = "http://user:" + passwordCanary + "@127.0.0.1:x" }, nil},
		"no store":       {func(c *driftdb.Config) { c.S3 = nil }, nil},
	} {
		c2, s3 := cfg, *cfg.S3
		c2.S3, c2.Path = &s3, filepath.Join(w.folder, strings.ReplaceAll(name, " ", "_")+".sqlite")
		c.change(&c2)
		w.fails(name, openAndFlush(ctx, w, c2), c.is)
	}
	gate.Refuse(func(r systemtest.S3Request) *systemtest.S3Refusal {
		w.request(r)
		return &systemtest.S3Refusal{Status: 403, Code: "AccessDenied"}
	})
	_, err = driftdb.Verify(ctx, rc)
	w.fails("verify without permission", err, fs.ErrPermission)
	gate.Refuse(w.request)
	info, err := systemtest.InfoOf(ctx, systemtest.BackupOf(rc))
	systemtest.Check(t, err)
	key := "driftdb/" + info.Snapshots[len(info.Snapshots)-1].Key
	damaged := &s3.PutObjectInput{Bucket: &gate.Bucket, Key: &key, Body: strings.NewReader("damaged")}
	_, err = gate.Server.Client(t).PutObject(ctx, damaged)
	systemtest.Check(t, err)
	_, err = driftdb.Verify(ctx, rc)
	w.fails("verify of a damaged snapshot", err, driftdb.ErrCorrupt)
}

// openAndFlush opens a database that cannot be flushed, and returns the first error.
func openAndFlush(ctx context.Context, w *watch, cfg driftdb.Config) error {
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, "CREATE TABLE t(a)")
	err = errors.Join(err, db.Flush(ctx))
	w.printed("metrics", db.Metrics())
	return errors.Join(err, db.Close())
}
