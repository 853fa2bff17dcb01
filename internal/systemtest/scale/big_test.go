package scale_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

var phases = map[string]func(t testing.TB, r *report, dir string, size int64){
	"fill":               fillBig,
	"snapshot, steady":   func(t testing.TB, r *report, dir string, _ int64) { snapshotBig(t, r, dir, time.Millisecond) },
	"snapshot, flat out": func(t testing.TB, r *report, dir string, _ int64) { snapshotBig(t, r, dir, 0) },
	"restore":            restoreBig,
	"checksum":           checksumBig,
	"transaction":        bigTransaction,
	"wide rows":          fillWide,
	"users":              fillUsers,
	"restore users":      restoreUsers,
}

// TestBig makes a database of large blobs, takes snapshots of it while it is
// written to, and restores it. Memory stays bounded whatever its size.
//
// DRIFTDB_BIG is the size, such as 5GiB; by default it is small enough for
// every day. Times are logged only.
func TestBig(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 600 MiB")
	}
	size := bigSize(t, "DRIFTDB_BIG", 200<<20)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	runPhase(t, "fill", dir, size)
	for _, how := range []string{"snapshot, steady", "snapshot, flat out"} {
		r := runPhase(t, how, dir, size)
		t.Logf("%s: %s, %d MiB resident, WAL of %d MiB, a write took %s", how, r.Took.Round(time.Millisecond), r.Peak>>20, r.WAL>>20, latencies(r))
		wantPeak(t, how, r, 150<<20)
	}
	r := runPhase(t, "restore", dir, size)
	t.Logf("restore: %s, %d MiB resident", r.Took.Round(time.Millisecond), r.Peak>>20)
	wantPeak(t, "restore", r, 150<<20)
	wantSame(t, dir)
}

// bigSize reads a number of bytes, or of rows, from the environment.
func bigSize(t *testing.T, variable string, byDefault int64) int64 {
	s := os.Getenv(variable)
	if s == "" {
		return byDefault
	}
	number, shift := s, 0
	for unit, n := range map[string]int{"MiB": 20, "GiB": 30} {
		if head, ok := strings.CutSuffix(s, unit); ok {
			number, shift = head, n
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 40)
	if err != nil {
		t.Fatalf("%s=%s is no size such as 300MiB or 5GiB: %v", variable, s, err)
	}
	return n << shift
}

func latencies(r report) string {
	return fmt.Sprintf("%s (median), %s (p99), %s (p99.9), %s (longest)", r.Latency["p50"], r.Latency["p99"], r.Latency["p99.9"], r.Latency["max"])
}

func bigConfig(t testing.TB, dir string) driftdb.Config {
	store, err := objstore.Dir(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	return driftdb.Config{Name: "big", Path: filepath.Join(dir, "big.sqlite"), Store: store, ManualSync: true}
}

// fillBig makes the database without DriftDB, which adopts it later. An eighth
// of the blobs is noise, the rest compresses.
func fillBig(t testing.TB, _ *report, dir string, size int64) {
	const blob = 1 << 20
	c, err := new(sqlite.Driver).Open(filepath.Join(dir, "big.sqlite"), sqlite.Options{Synchronous: sqlite.SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	systemtest.Check(t, c.Exec("CREATE TABLE blobs(id INTEGER PRIMARY KEY, n INTEGER NOT NULL DEFAULT 0, data BLOB NOT NULL);"+
		"CREATE TABLE counters(id INTEGER PRIMARY KEY, n INTEGER NOT NULL); INSERT INTO counters WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 1000) SELECT i, 0 FROM g"))
	st, err := c.Prepare("INSERT INTO blobs(data) VALUES(?1)")
	systemtest.Check(t, err)
	defer st.Finalize()
	data, noise := make([]byte, blob), rand.NewChaCha8([32]byte{})
	for range max(size/blob, 1) {
		for at := 0; at < blob; at += 4096 {
			noise.Read(data[at : at+512])
		}
		st.BindBlob(1, data)
		systemtest.Check(t, st.Run())
		st.Clear()
	}
}

// snapshotBig takes a snapshot while a writer makes small updates, one after
// the other with a pause between them, and notes how long each took.
func snapshotBig(t testing.TB, r *report, dir string, pause time.Duration) {
	ctx := t.Context()
	db, err := driftdb.Open(ctx, bigConfig(t, dir))
	systemtest.Check(t, err)
	defer db.Close()
	var stop atomic.Bool
	times := make(chan *stopwatch)
	go func() { times <- updateUntil(t, db, &stop, pause) }()
	wal := watchSize(filepath.Join(dir, "big.sqlite-wal"))
	began := time.Now()
	_, err = db.Snapshot(ctx)
	r.Took = time.Since(began)
	time.Sleep(time.Second) // what a snapshot leaves behind is cleared away while the writer goes on
	stop.Store(true)
	took := <-times
	r.WAL = wal()
	systemtest.Check(t, err)
	r.Latency = map[string]time.Duration{"p50": took.part(.5), "p99": took.part(.99), "p99.9": took.part(.999), "max": took.longest}
	systemtest.Check(t, db.Shutdown(ctx))
}

// stopwatch counts how long something took, in as little memory for millions of
// times as for one: by the microsecond, and all from a quarter of a second on as
// that.
type stopwatch struct {
	count   int
	micros  [1 << 18]uint32
	longest time.Duration
}

func (w *stopwatch) add(d time.Duration) {
	w.count++
	w.micros[min(int(d.Microseconds()), len(w.micros)-1)]++
	w.longest = max(w.longest, d)
}

// part is the time within which a part p of all was done.
func (w *stopwatch) part(p float64) time.Duration {
	left := int(p * float64(w.count))
	for us, n := range w.micros {
		if left -= int(n); left < 0 {
			return time.Duration(us) * time.Microsecond
		}
	}
	return w.longest
}

func updateUntil(t testing.TB, db *driftdb.DB, stop *atomic.Bool, pause time.Duration) *stopwatch {
	took := new(stopwatch)
	for n := 0; !stop.Load(); n++ {
		began := time.Now()
		if _, err := db.Exec(context.Background(), "UPDATE counters SET n = n + 1 WHERE id = ?", n%1000+1); err != nil {
			t.Error(err)
			break
		}
		took.add(time.Since(began))
		if pause > 0 {
			time.Sleep(pause)
		}
	}
	return took
}

// watchSize looks at a file until the function that it returns is called, which
// says how large the file was at most. Stat leaves SQLite's locks alone.
func watchSize(path string) func() int64 {
	stop, largest := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		for {
			select {
			case <-stop:
				largest <- most
				return
			case <-time.After(time.Millisecond):
				if info, err := os.Stat(path); err == nil {
					most = max(most, info.Size())
				}
			}
		}
	}()
	return func() int64 { close(stop); return <-largest }
}

func restoreBig(t testing.TB, r *report, dir string, _ int64) {
	cfg := bigConfig(t, dir)
	began := time.Now()
	_, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: filepath.Join(dir, "restored.sqlite")})
	systemtest.Check(t, err)
	r.Took = time.Since(began)
}

// wantSame compares the rows of the database and of its restored copy.
func wantSame(t *testing.T, dir string) {
	t.Helper()
	if a, b := runPhase(t, "checksum", filepath.Join(dir, "big.sqlite"), 0), runPhase(t, "checksum", filepath.Join(dir, "restored.sqlite"), 0); a.Checksum != b.Checksum {
		t.Errorf("the restored rows hash to %s, the source's to %s", b.Checksum, a.Checksum)
	}
}

// checksumBig hashes all rows of a database that is too large for a dump.
func checksumBig(t testing.TB, r *report, path string, _ int64) {
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true, QueryOnly: true})
	systemtest.Check(t, err)
	defer c.Close()
	var tables []string
	systemtest.Check(t, c.Each(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\_driftdb%' ESCAPE '\' ORDER BY name`, func(st *sqlite.Stmt) error {
		tables = append(tables, st.Text(0))
		return nil
	}))
	sum := sha256.New()
	for _, table := range tables {
		systemtest.Check(t, c.Each("SELECT rowid, * FROM "+table+" ORDER BY rowid", func(st *sqlite.Stmt) error {
			for i := range st.ColumnCount() {
				fmt.Fprintf(sum, "%d %d ", st.Type(i), len(st.View(i)))
				sum.Write(st.View(i))
			}
			return nil
		}))
	}
	r.Checksum = hex.EncodeToString(sum.Sum(nil))
}

// TestBigTransaction commits more changes at once than are buffered. The log
// says that it has no room for them, and a snapshot takes their place.
// DRIFTDB_BIG_TRANSACTION is the number of rows.
func TestBigTransaction(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 400,000 rows")
	}
	rows := bigSize(t, "DRIFTDB_BIG_TRANSACTION", 400_000)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := runPhase(t, "transaction", dir, rows)
	t.Logf("%d changes in a transaction: committed after %s, %d MiB resident, WAL of %d MiB", rows, r.Took.Round(time.Millisecond), r.Peak>>20, r.WAL>>20)
	wantPeak(t, "the transaction and its upload", r, 200<<20)
	r = runPhase(t, "restore", dir, 0)
	t.Logf("restore: %s, %d MiB resident", r.Took.Round(time.Millisecond), r.Peak>>20)
	wantPeak(t, "restore", r, 200<<20)
	wantSame(t, dir)
}

func bigTransaction(t testing.TB, r *report, dir string, rows int64) {
	ctx := t.Context()
	db, err := driftdb.Open(ctx, bigConfig(t, dir))
	systemtest.Check(t, err)
	defer db.Close()
	systemtest.Exec(t, db, "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE, age INTEGER)")
	wal := watchSize(filepath.Join(dir, "big.sqlite-wal"))
	began := time.Now()
	systemtest.Check(t, db.Tx(ctx, func(tx *driftdb.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO users WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < ?)
			SELECT printf('018bcfe5-6800-7000-8000-%012x', i), 'User ' || i, 'user' || i || '@example.com', i % 90 FROM g`, rows)
		return err
	}))
	r.Took = time.Since(began)
	systemtest.Check(t, db.Shutdown(ctx))
	r.WAL = wal()
}

// TestImportWAL: the WAL stays below 64 MiB while rows are written in large
// transactions as fast as can be, uploaded, and trimmed from the log.
// DRIFTDB_BIG_IMPORT is the number of rows.
func TestImportWAL(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 200,000 rows")
	}
	const batch = 10_000
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.ManualSync, cfg.SyncInterval = false, 100*time.Millisecond
	db, err := driftdb.Open(ctx, cfg)
	systemtest.Check(t, err)
	defer db.Close()
	repo := systemtest.Define[benchUser](t, db, "users")
	wal := watchSize(cfg.Path + "-wal")
	began := time.Now()
	rows := bigSize(t, "DRIFTDB_BIG_IMPORT", 200_000)
	users := make([]benchUser, batch)
	for from := int64(0); from < rows; from += batch {
		for i := range users {
			users[i] = newBenchUser(int(from) + i)
		}
		_, err := repo.CreateMany(ctx, users)
		systemtest.Check(t, err)
	}
	systemtest.Check(t, db.Flush(ctx))
	took, most := time.Since(began), wal()
	t.Logf("%d rows in %s, the WAL had %d MiB", rows, took.Round(time.Millisecond), most>>20)
	if most > 64<<20 {
		t.Errorf("the WAL grew to %d MiB", most>>20)
	}
}
