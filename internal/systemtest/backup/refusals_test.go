package backup_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestRefusals: what cannot be opened is a clear error.
func TestRefusals(t *testing.T) {
	ctx := t.Context()
	good := systemtest.Config(t)
	for name, c := range map[string]struct {
		change func(*driftdb.Config)
		want   string
	}{
		"slash":         {func(c *driftdb.Config) { c.Name = "a/b" }, `"a/b"`},
		"dots":          {func(c *driftdb.Config) { c.Name = ".." }, `".."`},
		"empty":         {func(c *driftdb.Config) { c.Name = "" }, "Name"},
		"node":          {func(c *driftdb.Config) { c.NodeID = "x y" }, "NodeID"},
		"no path":       {func(c *driftdb.Config) { c.Path = "" }, "Path"},
		"two stores":    {func(c *driftdb.Config) { c.S3 = &driftdb.S3Config{Bucket: "b"} }, "choose one"},
		"restore, none": {func(c *driftdb.Config) { c.Store = nil; c.AutoRestore = true }, "AutoRestore"},
		"key, none":     {func(c *driftdb.Config) { c.Store = nil; c.EncryptionKeys = []string{strings.Repeat("0", 64)} }, "EncryptionKeys"},
		"bad key":       {func(c *driftdb.Config) { c.EncryptionKeys = []string{"abc"} }, "key"},
		"negative":      {func(c *driftdb.Config) { c.SyncInterval = -1 }, "SyncInterval"},
		"compression":   {func(c *driftdb.Config) { c.Compression = 9 }, "Compression"},
	} {
		cfg := good
		c.change(&cfg)
		db, err := driftdb.Open(ctx, cfg)
		if err == nil {
			db.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}

	text := filepath.Join(t.TempDir(), "notes.txt")
	words := []byte(strings.Repeat("this is no database, but somebody's notes\n", 100))
	if err := os.WriteFile(text, words, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := good
	cfg.Path = text
	if _, err := driftdb.Open(ctx, cfg); !errors.Is(err, driftdb.ErrCorrupt) || !strings.Contains(err.Error(), "notes.txt") {
		t.Errorf("a text file: %v", err)
	}
	if now, err := os.ReadFile(text); err != nil || string(now) != string(words) {
		t.Errorf("the text file was changed (%v)", err)
	}

	db := systemtest.Open(t, good)
	if _, err := driftdb.Open(ctx, good); !errors.Is(err, driftdb.ErrLocked) {
		t.Errorf("a second Open: %v", err)
	}
	systemtest.Some(t, db, "t", 1)
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	over := driftdb.RestoreConfig{Name: "app", Path: good.Path, Store: good.Store}
	if _, err := driftdb.Restore(ctx, over); err == nil || !strings.Contains(err.Error(), good.Path) {
		t.Errorf("a restore onto a file: %v", err)
	}
	over.Overwrite = true
	if _, err := driftdb.Restore(ctx, over); !errors.Is(err, driftdb.ErrLocked) {
		t.Errorf("a restore onto an open file: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	other := good
	other.Name = "other"
	if _, err := driftdb.Open(ctx, other); err == nil || !strings.Contains(err.Error(), `"app"`) {
		t.Errorf("under another name: %v", err)
	}
	if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "nobody", Path: filepath.Join(t.TempDir(), "x"), Store: good.Store}); !errors.Is(err, driftdb.ErrNoBackup) {
		t.Errorf("a name without a backup: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(good.Path), "*driftdb-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
