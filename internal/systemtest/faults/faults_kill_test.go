package faults_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestKilled kills processes that write, sync, take snapshots and merge, at any
// moment. What their files and the bucket hold then is whole transactions, all
// of those that were acknowledged, and the file goes on. "make kill" kills more.
func TestKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	kills, seed := 4, rand.Uint64()
	if s := os.Getenv("DRIFTDB_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		kills = n
	}
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := systemtest.MemoryDir(t)
	if err := os.Mkdir(filepath.Join(dir, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range kills {
		killOne(t, dir, time.Duration(rnd.Int64N(int64(400*time.Millisecond))))
	}
}

// killedConfig is what parent and child have in common.
func killedConfig(t testing.TB, dir string) driftdb.Config {
	t.Helper()
	store, err := objstore.Dir(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	return driftdb.Config{
		Name: "app", Path: filepath.Join(dir, "app.sqlite"), Store: store,
		SyncInterval: 3 * time.Millisecond, ManifestInterval: 20 * time.Millisecond, SnapshotEvery: 40, MaxBatchSize: 5,
	}
}

// workUntilKilled says what was committed in a folder, and what is safe.
var workUntilKilled = subprocess.Register("workUntilKilled", func(t testing.TB, args []string) {
	ctx := context.Background()
	db := systemtest.Open(t, killedConfig(t, args[0]))
	systemtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS a(id INTEGER PRIMARY KEY, v)")
	systemtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS b(n)")
	n := systemtest.Count(t, db, "a")
	for {
		n++
		err := db.Tx(ctx, func(tx *driftdb.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO a VALUES(?1, ?1 * 7); DELETE FROM b; INSERT INTO b VALUES(?1)", n)
			return err
		})
		switch {
		case err == nil && n%97 == 0:
			err = db.Vacuum(ctx)
		case err == nil && n%41 == 0:
			_, err = db.Exec(ctx, fmt.Sprintf("CREATE INDEX i%d ON a(v)", n))
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("committed", n)
		if n%13 == 0 {
			if err := db.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			fmt.Println("safe", n)
		}
	}
})

// killOne lets a child work for a while.
func killOne(t *testing.T, dir string, after time.Duration) {
	cmd := workUntilKilled.Command(t.Context(), dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var committed, safe int64
	var all []string
	var timer *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if timer == nil { // it has begun to work
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // fails if it has ended
			defer timer.Stop()
		}
		var n int64
		if _, err := fmt.Sscanf(lines.Text(), "committed %d", &n); err == nil {
			committed = n
		} else if _, err := fmt.Sscanf(lines.Text(), "safe %d", &n); err == nil {
			safe = n
		} else {
			all = append(all, lines.Text())
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v\n%q", err, all)
	}
	afterKill(t, dir, committed, safe)
}

// afterKill looks at the bucket, and at the file, which goes on.
func afterKill(t *testing.T, dir string, committed, safe int64) {
	cfg := killedConfig(t, dir)
	cfg.ManualSync = true
	restored := filepath.Join(dir, "restored.sqlite")
	cold := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: restored, Overwrite: true}
	switch _, err := driftdb.Restore(t.Context(), cold); {
	case err == nil:
		if n := wholeRows(t, restored); n < safe || n > committed+1 {
			t.Fatalf("restored %d transactions; %d were safe, %d committed", n, safe, committed)
		}
	case safe > 0 || !errors.Is(err, driftdb.ErrNoBackup):
		t.Fatal(err)
	}
	db, err := driftdb.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := wholeRows(t, cfg.Path); n < committed || n > committed+1 {
		t.Fatalf("the file has %d transactions of %d", n, committed)
	}
	if _, err := driftdb.Restore(t.Context(), cold); err != nil {
		t.Fatal(err)
	}
	dbtest.Equal(t, cfg.Path, restored)
}

// wholeRows counts the transactions in a file, none of which is there in part.
func wholeRows(t *testing.T, path string) int64 {
	t.Helper()
	db, err := driftdb.Open(t.Context(), driftdb.Config{Name: "app", Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tables, err := driftdb.Select[int64](t.Context(), db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('a', 'b') AND type = 'table'")
	if err != nil {
		t.Fatal(err)
	}
	if tables[0] < 2 {
		return 0
	}
	rows := systemtest.Count(t, db, "a")
	last, err := driftdb.Select[int64](t.Context(), db, "SELECT n FROM b UNION ALL SELECT coalesce(max(id), 0) FROM a")
	if err != nil {
		t.Fatal(err)
	}
	if rows > 0 && (len(last) != 2 || last[0] != rows || last[1] != rows) {
		t.Fatalf("%s has %d rows, the last transactions are %v", path, rows, last)
	}
	return rows
}

// catchUpUntilKilled opens the old copy of a disk.
var catchUpUntilKilled = subprocess.Register("catchUpUntilKilled", func(t testing.TB, args []string) {
	fmt.Println("opens")
	db := systemtest.Open(t, lateConfig(t, args[0]))
	fmt.Println("open at", db.Sequence())
})

// TestKilledCatchingUp kills processes that bring an old copy of a disk up to date,
// at any moment. The file then is what its original was at some commit, accounts
// for that, and the next process goes on from there.
func TestKilledCatchingUp(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	rounds, seed := systemtest.Setting(t, "DRIFTDB_KILLS", 4), rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := systemtest.MemoryDir(t)
	systemtest.Check(t, os.Mkdir(filepath.Join(dir, "store"), 0o700))
	cfg := killedConfig(t, dir)
	cfg.ManualSync = true
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE a(id INTEGER PRIMARY KEY, v); CREATE TABLE b(n); INSERT INTO a VALUES(1, 7); INSERT INTO b VALUES(1)")
	systemtest.Check(t, db.Shutdown(t.Context()))
	first := systemtest.CopyClosed(t, cfg).Path
	db = systemtest.Open(t, cfg)
	had := map[int64]int64{db.Sequence(): 1} // transactions, by sequence
	for n := int64(2); n <= 150; n++ {
		systemtest.Check(t, db.Tx(t.Context(), func(tx *driftdb.Tx) error {
			_, err := tx.Exec(t.Context(), "INSERT INTO a VALUES(?1, ?1 * 7); DELETE FROM b; INSERT INTO b VALUES(?1)", n)
			return err
		}))
		had[db.Sequence()] = n
		if n%10 == 0 {
			systemtest.Exec(t, db, fmt.Sprintf("CREATE INDEX i%d ON a(v)", n))
			had[db.Sequence()] = n
		}
	}
	systemtest.Check(t, db.Flush(t.Context()))
	kills, between := 0, 0
	for range rounds {
		late := lateConfig(t, dir)
		systemtest.Check(t, errors.Join(systemtest.CopyFile(first, late.Path), systemtest.CopyFile(first+"-lock", late.Path+"-lock")))
		// Each lives longer than the one before, or it would never be done where
		// everything is slow.
		for life := 60 * time.Millisecond; killLate(t, dir, time.Duration(rnd.Int64N(int64(life)))); life += life / 8 {
			kills++
			if n := wholeLate(t, late.Path, had); n > 1 && n < had[db.Sequence()] {
				between++
			}
		}
		dbtest.Equal(t, cfg.Path, late.Path)
		for _, suffix := range []string{"", "-wal", "-shm", "-lock"} {
			if err := os.Remove(late.Path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d processes were killed, %d of them between the first and the last batch", kills, between)
}

// lateConfig is that of the old copy.
func lateConfig(t testing.TB, dir string) driftdb.Config {
	cfg := killedConfig(t, dir)
	cfg.Path, cfg.SyncInterval = filepath.Join(dir, "late.sqlite"), time.Hour
	return cfg
}

// killLate lets a child open the copy, and says whether it was killed before it
// was done.
func killLate(t *testing.T, dir string, after time.Duration) bool {
	t.Helper()
	cmd := catchUpUntilKilled.Command(t.Context(), dir)
	out, err := cmd.StdoutPipe()
	systemtest.Check(t, err)
	systemtest.Check(t, cmd.Start())
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if said = append(said, lines.Text()); len(said) == 1 {
			timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // fails if it has ended
			defer timer.Stop()
		}
	}
	err = cmd.Wait()
	if err != nil && cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v\n%q", err, said)
	}
	return err != nil
}

// wholeLate looks at what the copy holds after a kill, and returns how many
// transactions that are.
func wholeLate(t *testing.T, path string, had map[int64]int64) int64 {
	t.Helper()
	dir := t.TempDir()
	there := filepath.Join(dir, "look.sqlite")
	systemtest.Check(t, systemtest.CloneDisk(path, there))
	c, err := new(sqlite.Driver).Open(there, sqlite.Options{MustExist: true})
	systemtest.Check(t, err)
	log := changelog.View(c)
	books, err := log.Books()
	systemtest.Check(t, err)
	last, err := log.Last()
	systemtest.Check(t, err)
	whole, err := c.Text("PRAGMA integrity_check")
	systemtest.Check(t, errors.Join(err, c.Close()))
	n := wholeRows(t, there)
	if want, commit := had[last]; !commit || n != want || books.Acked != last || whole != "ok" {
		t.Fatalf("the file is at %d, its books at %d, and it has %d transactions, want %d; %s", last, books.Acked, n, want, whole)
	}
	return n
}
