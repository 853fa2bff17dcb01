package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestKillResolve kills driftdb resolve at any moment: the file holds what it did, or
// what it is to hold, and the next run brings it to an end.
func TestKillResolve(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	kills, seed := 5, rand.Uint64()
	if s := os.Getenv("DRIFTDB_KILLS"); s != "" {
		kills = number[int](t, s)
	}
	if s := os.Getenv("DRIFTDB_SEED"); s != "" {
		seed = number[uint64](t, s)
	}
	t.Logf("DRIFTDB_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	store, file := filepath.Join(dir, "store"), filepath.Join(dir, "b.db")
	diverge(t, store, filepath.Join(dir, "a.db"), file)
	pristine, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before := dumped(t, file)
	resolve := func(after time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		defer cancel()
		out, err := exec.CommandContext(ctx, "driftdb", "resolve", "--db", file, "--name", "app", "--store", folderURL(store)).CombinedOutput()
		if err != nil && ctx.Err() == nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return err
	}
	began := time.Now()
	if err := resolve(time.Hour); err != nil {
		t.Fatal(err)
	}
	whole, after := time.Since(began), dumped(t, file)
	if before == after {
		t.Fatal("nothing was resolved")
	}
	for killed := 0; killed < kills; {
		if err := os.WriteFile(file, pristine, 0o600); err != nil {
			t.Fatal(err)
		}
		for done := false; !done; {
			done = resolve(time.Duration(1+rnd.Int64N(int64(whole)))) == nil
			switch now := dumped(t, file); {
			case now == after:
				done = true
			case done || now != before:
				t.Fatalf("after %d kills the file holds neither what it did nor what it is to hold:\n%s", killed, dbtest.Diff(after, now))
			}
			killed++
		}
	}
	goOnAndCompare(t, store, file)
}

func dumped(t *testing.T, file string) string {
	t.Helper()
	out, err := dbtest.Dump(file)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// diverge makes a database in a, and in b one that has diverged from it.
func diverge(t *testing.T, folder, a, b string) {
	t.Helper()
	ctx := t.Context()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := objstore.Dir(folder)
	if err != nil {
		t.Fatal(err)
	}
	run := func(path, script string, online bool) {
		cfg := driftdb.Config{Name: "app", Path: path}
		if online {
			cfg.Store, cfg.AutoRestore = store, true
		}
		db, err := driftdb.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if script != "" {
			_, err = db.Exec(ctx, script)
		}
		if online {
			err = errors.Join(err, db.Flush(ctx))
		}
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	run(a, "CREATE TABLE t(k INTEGER PRIMARY KEY, v)", true)
	run(a, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT i, hex(randomblob(50)) FROM n", true)
	run(b, "", true)
	run(b, "UPDATE t SET v = 'b' WHERE k % 2", false)
	run(a, "UPDATE t SET v = 'a' WHERE k % 2 = 0", true)
}

// goOnAndCompare sends what the file has, and compares it with a restore.
func goOnAndCompare(t *testing.T, folder, file string) {
	t.Helper()
	store, err := objstore.Dir(folder)
	if err != nil {
		t.Fatal(err)
	}
	db, err := driftdb.Open(t.Context(), driftdb.Config{Name: "app", Path: file, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "restored.db")
	if _, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: "app", Path: restored, Store: store}); err != nil {
		t.Fatal(err)
	}
	dbtest.Equal(t, file, restored)
}
