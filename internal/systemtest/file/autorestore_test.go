package file_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// saved is a database with n rows in the bucket, closed.
func saved(t *testing.T, n int) driftdb.Config {
	t.Helper()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", n)
	if err := db.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg.Path, cfg.AutoRestore = filepath.Join(t.TempDir(), "again.sqlite"), true
	return cfg
}

// TestAutoRestore: what can lie at the path when a program boots, and what
// happens then.
func TestAutoRestore(t *testing.T) {
	ctx := t.Context()
	t.Run("an empty bucket", func(t *testing.T) {
		cfg := systemtest.Config(t)
		cfg.AutoRestore = true
		systemtest.Some(t, systemtest.Open(t, cfg), "t", 1)
	})
	t.Run("an empty file", func(t *testing.T) {
		cfg := saved(t, 3)
		if err := os.WriteFile(cfg.Path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if n := systemtest.Count(t, systemtest.Open(t, cfg), "t"); n != 3 {
			t.Errorf("%d rows", n)
		}
	})
	t.Run("a WAL without its database", func(t *testing.T) {
		for _, restore := range []bool{true, false} {
			cfg := saved(t, 3)
			if cfg.AutoRestore = restore; !restore {
				cfg.Store = nil
			}
			if err := os.WriteFile(cfg.Path+"-wal", []byte("somebody's changes"), 0o600); err != nil {
				t.Fatal(err)
			}
			warned := false
			cfg.OnEvent = func(e driftdb.Event) { warned = warned || e.Kind == driftdb.EventFilesSetAside }
			db := systemtest.Open(t, cfg)
			systemtest.Some(t, db, "t", 1)
			left, err := filepath.Glob(cfg.Path + "-wal.left-*")
			if err != nil || len(left) != 1 || !warned {
				t.Fatalf("set aside: %q, %v; warned %v", left, err, warned)
			}
			if data, err := os.ReadFile(left[0]); err != nil || string(data) != "somebody's changes" {
				t.Errorf("it holds %q, %v", data, err)
			}
		}
	})
	t.Run("a restore that was killed", func(t *testing.T) {
		cfg := saved(t, 3)
		half := filepath.Join(cfg.Path+"-driftdb", "work-123")
		if err := errors.Join(os.MkdirAll(half, 0o700), os.WriteFile(filepath.Join(half, "database.sqlite"), []byte("SQLite format 3\x00 half"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if n := systemtest.Count(t, systemtest.Open(t, cfg), "t"); n != 3 {
			t.Errorf("%d rows", n)
		}
		if _, err := os.Stat(filepath.Dir(half)); err == nil {
			t.Error("what it left is still there")
		}
	})
	t.Run("a file of another database", func(t *testing.T) {
		cfg := saved(t, 3)
		other := cfg
		other.Store, other.AutoRestore = nil, false
		db := systemtest.Open(t, other)
		systemtest.Some(t, db, "mine", 1)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		cfg.ManualSync = false
		if _, err := driftdb.Open(ctx, cfg); !errors.Is(err, driftdb.ErrDiverged) {
			t.Errorf("open: %v", err)
		}
		if n := systemtest.Count(t, systemtest.Open(t, other), "mine"); n != 1 {
			t.Errorf("the file's own data: %d rows", n)
		}
	})
	t.Run("a bucket that cannot be reached", func(t *testing.T) {
		cfg := saved(t, 3)
		good := cfg.Store
		cfg.Store, cfg.Retry.MaxRetries = objstoretest.Break(good, objstoretest.From(1, objstoretest.Fault{Kind: objstoretest.Fail})), -1
		if _, err := driftdb.Open(ctx, cfg); !errors.Is(err, objstoretest.ErrInjected) {
			t.Errorf("without a file: %v", err)
		}
		if _, err := os.Stat(cfg.Path); err == nil {
			t.Error("there is a file now")
		}
		here := cfg
		here.Store = good
		db := systemtest.Open(t, here)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for _, manual := range []bool{true, false} {
			cfg.ManualSync = manual
			db, err := driftdb.Open(ctx, cfg)
			if err != nil {
				t.Fatalf("with a file: %v", err)
			}
			db.Close()
		}
	})
}

// foreignExec writes to a closed database as another program does.
func foreignExec(t *testing.T, path, query string) {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Exec(query), c.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestCatchUp: a file that is merely behind is brought up to date; one that has
// something of its own is left alone.
func TestCatchUp(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		what   string
		change func(t *testing.T, cfg driftdb.Config)
		want   error
	}{
		{"nothing", func(*testing.T, driftdb.Config) {}, nil},
		{"a change that was not sent", func(t *testing.T, cfg driftdb.Config) {
			db, err := driftdb.Open(ctx, cfg)
			if err != nil {
				t.Fatal(err)
			}
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('mine')")
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}, driftdb.ErrDiverged},
		{"a change by another program", func(t *testing.T, cfg driftdb.Config) {
			foreignExec(t, cfg.Path, "INSERT INTO t(v) VALUES('theirs')")
		}, driftdb.ErrDiverged},
	} {
		t.Run(c.what, func(t *testing.T) {
			cfg := systemtest.Config(t)
			first, err := driftdb.Open(ctx, cfg)
			if err != nil {
				t.Fatal(err)
			}
			systemtest.Some(t, first, "t", 3)
			if err := first.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			node := first.NodeID()
			c.change(t, cfg)
			second := systemtest.Open(t, systemtest.Elsewhere(t, cfg))
			systemtest.Exec(t, second, "INSERT INTO t(v) VALUES('second')")
			if err := second.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			cfg.ManualSync = false
			again, err := driftdb.Open(ctx, cfg)
			if !errors.Is(err, c.want) {
				t.Fatalf("open: %v, want %v", err, c.want)
			}
			if err != nil {
				return
			}
			defer again.Close()
			if again.NodeID() != node || again.Sequence() != second.Sequence() {
				t.Errorf("node %s at %d, want %s at %d", again.NodeID(), again.Sequence(), node, second.Sequence())
			}
			systemtest.Exec(t, again, "INSERT INTO t(v) VALUES('again')")
			if err := again.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "r.sqlite")
			if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: path}); err != nil {
				t.Fatal(err)
			}
			dbtest.Equal(t, cfg.Path, path)
		})
	}
}
