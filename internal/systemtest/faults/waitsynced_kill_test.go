package faults_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore"
)

// writesUntilKilled waits for its changes in several goroutines, and says which are safe.
// Sync in the background has an interval that never ends, so nothing else sends them.
var writesUntilKilled = subprocess.Register("writesUntilKilled", func(t testing.TB, args []string) {
	ctx := context.Background()
	cfg := killedConfig(t, args[0])
	cfg.SyncInterval, cfg.SyncGap, cfg.SnapshotEvery = time.Hour, 2*time.Millisecond, -1
	db, err := driftdb.Open(ctx, cfg)
	systemtest.Check(t, err)
	systemtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS a(id INTEGER PRIMARY KEY, v)")
	for range 3 {
		go func() {
			for {
				var id int64
				var in *driftdb.Tx
				systemtest.Check(t, db.Tx(ctx, func(tx *driftdb.Tx) error {
					in = tx
					ids, err := driftdb.Select[int64](ctx, tx, "INSERT INTO a(v) VALUES('x') RETURNING id")
					if err == nil {
						id = ids[0]
					}
					return err
				}))
				if id%29 == 0 {
					systemtest.Check(t, db.Vacuum(ctx))
				}
				systemtest.Check(t, db.WaitSynced(ctx, in.Sequence()))
				fmt.Println("safe", id)
			}
		}()
	}
	select {}
})

// TestKilledWhenSafe kills a process the moment it says that a change is safe. A restore has
// that change, and the file goes on. "make kill" kills more.
func TestKilledWhenSafe(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	dir := systemtest.MemoryDir(t)
	systemtest.Check(t, os.Mkdir(filepath.Join(dir, "store"), 0o700))
	seen, kills := int64(0), 20
	if testing.Short() {
		kills = 5
	}
	for round := range systemtest.Setting(t, "DRIFTDB_KILLS", kills) {
		seen = killWhenSafe(t, dir, 1+round*7%40, seen)
	}
}

// killWhenSafe kills a child when it has said so often that a change is safe. It returns the
// newest change that is known to be.
func killWhenSafe(t *testing.T, dir string, after int, before int64) int64 {
	t.Helper()
	cmd := writesUntilKilled.Command(t.Context(), dir)
	out, err := cmd.StdoutPipe()
	systemtest.Check(t, err)
	systemtest.Check(t, cmd.Start())
	var safe []int64
	var other []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var id int64
		if _, err := fmt.Sscanf(lines.Text(), "safe %d", &id); err != nil {
			other = append(other, lines.Text())
			continue
		}
		if safe = append(safe, id); len(safe) == after {
			systemtest.Check(t, cmd.Process.Kill())
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v\n%q", err, other)
	}
	cold := driftdb.RestoreConfig{Name: "app", Path: filepath.Join(dir, "cold.sqlite"), Overwrite: true}
	cold.Store, err = objstore.Dir(filepath.Join(dir, "store"))
	systemtest.Check(t, err)
	_, err = driftdb.Restore(t.Context(), cold)
	systemtest.Check(t, err)
	c, err := new(sqlite.Driver).Open(cold.Path, sqlite.Options{})
	systemtest.Check(t, err)
	defer c.Close()
	for _, id := range append(safe, before) {
		if n, err := c.Int(fmt.Sprintf("SELECT count(*) FROM a WHERE id = %d", id)); err != nil || n != 1 && id > 0 {
			t.Fatalf("%d of the safe changes %d is not in a restore: %v", id, safe, err)
		}
		before = max(before, id)
	}
	return before
}
