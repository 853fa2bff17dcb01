package scale_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// stage is what one stage of a restore took.
type stage struct {
	Name string
	Took time.Duration
	CPU  time.Duration // of all threads, user and system; 0 where the system does not tell
	Peak int64         // of resident memory up to its end, in bytes
}

// TestRestoreBench restores users whose snapshot has all of them and whose log has a tenth as
// many updates, in a process of its own, and logs what each stage took.
//
// DRIFTDB_RESTORE_USERS is their number, DRIFTDB_RESTORE_ROUNDS how often.
func TestRestoreBench(t *testing.T) {
	if os.Getenv("DRIFTDB_RESTORE_USERS") == "" {
		t.Skip("measures; make restorebench runs it")
	}
	dir := t.TempDir()
	systemtest.Check(t, os.Mkdir(filepath.Join(dir, "store"), 0o700))
	runPhase(t, "users", dir, bigSize(t, "DRIFTDB_RESTORE_USERS", 0))
	for round := range bigSize(t, "DRIFTDB_RESTORE_ROUNDS", 1) {
		r := runPhase(t, "restore users", dir, 0)
		info, err := os.Stat(filepath.Join(dir, "restored.sqlite"))
		systemtest.Check(t, err)
		if round == 0 {
			t.Logf("%d MB restored", info.Size()/1e6)
		}
		for _, s := range r.Stages {
			t.Logf("%-8s  wall %5.2f s  CPU %5.2f s  peak %3d MiB", s.Name, s.Took.Seconds(), s.CPU.Seconds(), s.Peak>>20)
		}
	}
}

// TestRestoreMemory restores a log that changes every page of a file larger than the
// memory that a restore may take.
func TestRestoreMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 400 MiB")
	}
	dir := t.TempDir()
	systemtest.Check(t, os.Mkdir(filepath.Join(dir, "store"), 0o700))
	runPhase(t, "wide rows", dir, 40_000)
	r := runPhase(t, "restore", dir, 0)
	t.Logf("restore: %s, %d MiB resident", r.Took.Round(time.Millisecond), r.Peak>>20)
	wantPeak(t, "restore", r, 150<<20)
	wantSame(t, dir)
}

// fillWide makes rows of a page each, and logs an update of every one.
func fillWide(t testing.TB, _ *report, dir string, rows int64) {
	ctx := t.Context()
	db, err := driftdb.Open(ctx, bigConfig(t, dir))
	systemtest.Check(t, err)
	defer db.Close()
	systemtest.Exec(t, db, "CREATE TABLE wide(id INTEGER PRIMARY KEY, n INTEGER NOT NULL, pad BLOB NOT NULL)")
	systemtest.Exec(t, db, "INSERT INTO wide WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < ?) SELECT i, 0, zeroblob(3600) FROM g", rows)
	_, err = db.Snapshot(ctx)
	systemtest.Check(t, err)
	systemtest.Exec(t, db, "UPDATE wide SET n = id")
	systemtest.Check(t, db.Shutdown(ctx))
}

// fillUsers makes the users without DriftDB, which adopts them, takes a snapshot and
// logs updates of users all over the table.
func fillUsers(t testing.TB, _ *report, dir string, users int64) {
	const id = "printf('018bcfe5-6800-7000-8000-%012x', ?1)"
	ctx, cfg := t.Context(), bigConfig(t, dir)
	c, err := sqlite.Open(cfg.Path, sqlite.Options{Synchronous: sqlite.SyncOff})
	systemtest.Check(t, err)
	systemtest.Check(t, c.Exec(fmt.Sprintf(`CREATE TABLE users(id TEXT NOT NULL PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
			name TEXT NOT NULL, email TEXT NOT NULL UNIQUE, age INTEGER NOT NULL);
		WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < %d)
		INSERT INTO users SELECT %s, 1700000000000 + i, 1700000000000 + i, 'User ' || i, 'user' || i || '@example.com', i %% 90 FROM g`,
		users, strings.Replace(id, "?1", "i", 1))))
	systemtest.Check(t, c.Close())
	db, err := driftdb.Open(ctx, cfg)
	systemtest.Check(t, err)
	defer db.Close()
	_, err = db.Snapshot(ctx)
	systemtest.Check(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	for range users / 1000 {
		systemtest.Check(t, db.Tx(ctx, func(tx *driftdb.Tx) error {
			for range 100 {
				i := random.Int64N(users) + 1
				if _, err := tx.Exec(ctx, "UPDATE users SET age = ?2 WHERE id = "+id, i, random.IntN(1000)+100); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	systemtest.Check(t, db.Shutdown(ctx))
}

func restoreUsers(t testing.TB, r *report, dir string, _ int64) {
	cfg := bigConfig(t, dir)
	began := time.Now()
	whole := stage{Name: "in all"}
	now := stage{Name: "manifest"}
	next := func(name string) {
		at, cpu, peak := time.Since(began), cpuTime(t), peakMemory(t)
		now.Took, now.CPU, now.Peak = at-whole.Took, cpu-whole.CPU, peak
		whole.Took, whole.CPU, whole.Peak = at, cpu, peak
		r.Stages = append(r.Stages, now)
		now = stage{Name: name}
	}
	_, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{
		Name: cfg.Name, Store: cfg.Store, Path: filepath.Join(dir, "restored.sqlite"), Overwrite: true,
		OnProgress: func(p driftdb.Progress) {
			if string(p.Stage) != now.Name {
				next(string(p.Stage))
			}
		},
	})
	systemtest.Check(t, err)
	next("")
	r.Stages = append(r.Stages, whole)
}

// cpuTime is what this process has used of the processors.
func cpuTime(t testing.TB) time.Duration {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	const tick = 10 * time.Millisecond
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var sum time.Duration
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(string(field), 10, 64)
		systemtest.Check(t, err)
		sum += time.Duration(n) * tick
	}
	return sum
}
