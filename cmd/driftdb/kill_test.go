package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestKill kills imports at any moment, and resumes them. Every row that was
// acknowledged is there, whole transactions and nothing else are, and once the
// database has been opened and flushed its restored copy is equal to it. At
// times the file is lost as well, and the import goes on with what the store
// has. In the end every row is there once, in the order of the file.
//
// DRIFTDB_KILLS says how many imports are killed, and makes them long enough to
// upload in the background as well; DRIFTDB_SEED chooses the moments.
func TestKill(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	k := &killer{t: t, dir: t.TempDir(), size: 12_000, batch: 500}
	kills, seed := 5, rand.Uint64()
	if s := os.Getenv("DRIFTDB_KILLS"); s != "" {
		kills, k.size, k.batch = number[int](t, s), 150_000, 2_000
	}
	if s := os.Getenv("DRIFTDB_SEED"); s != "" {
		seed = number[uint64](t, s)
	}
	t.Logf("DRIFTDB_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))

	k.writeCSV()
	k.start()
	began := time.Now()
	k.run(0)
	whole := time.Since(began)
	for round := 0; kills > 0; round++ {
		k.start()
		for range min(kills, 1+rnd.IntN(3)) { // one database may die more than once
			after := time.Duration(1 + rnd.Int64N(int64(whole)))
			k.run(after)
			kills--
			switch rnd.IntN(3) {
			case 0:
				k.lose()
			case 1:
				k.check()
				k.lose()
			default:
				k.check()
			}
		}
		k.run(0)
		if rows := k.check(); rows != int64(k.size) {
			t.Errorf("%d rows of %d", rows, k.size)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("an import of %d rows takes %s; of %d that were to be killed %d were done before; the file was lost %d times, and the store had %d rows in all",
		k.size, whole.Round(time.Millisecond), k.runs, k.finished, k.lost, k.back)
}

func number[N int | uint64](t *testing.T, s string) N {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		t.Fatal(err)
	}
	return N(n)
}

// killer runs imports into one database after the other.
type killer struct {
	t     *testing.T
	dir   string
	csv   string
	size  int   // rows of the CSV file
	batch int64 // rows to a transaction
	round int

	db, store string
	acked     int64 // rows that imports said were committed
	runs      int   // imports that were to be killed
	finished  int
	lost      int
	back      int64 // rows that the store had when the file was lost
}

func (k *killer) writeCSV() {
	var b bytes.Buffer
	b.WriteString("id,name,note\n")
	for i := range k.size {
		fmt.Fprintf(&b, "%d,\"Name, %d\",%s\n", i, i%97, strings.Repeat("x", i%200))
	}
	k.csv = filepath.Join(k.dir, "rows.csv")
	if err := os.WriteFile(k.csv, b.Bytes(), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// start begins a new database.
func (k *killer) start() {
	k.round++
	folder := filepath.Join(k.dir, strconv.Itoa(k.round))
	k.db, k.store, k.acked = filepath.Join(folder, "a.db"), filepath.Join(folder, "store"), 0
	if err := os.MkdirAll(k.store, 0o700); err != nil {
		k.t.Fatal(err)
	}
}

// run imports, and kills the process after a while; 0 lets it end.
func (k *killer) run(after time.Duration) {
	k.t.Helper()
	cmd := exec.CommandContext(k.t.Context(), "driftdb", "import", "--db", k.db, "--name", "app",
		"--store", folderURL(k.store), "--table", "t", "--batch", strconv.FormatInt(k.batch, 10), "--resume", k.csv)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	if after > 0 {
		// An error means that it has ended already.
		defer time.AfterFunc(after, func() { _ = cmd.Process.Kill() }).Stop()
	}
	acked, output := readAcks(stderr)
	err = cmd.Wait()
	k.acked = max(k.acked, acked)
	if after > 0 {
		k.runs++
	}
	if err == nil && after > 0 {
		k.finished++
	} else if err != nil && (after == 0 || cmd.ProcessState.ExitCode() != -1) {
		k.t.Fatalf("the import failed by itself: %v\n%s", err, output)
	}
}

// readAcks returns the last number of rows that an import called committed.
func readAcks(stderr io.Reader) (acked int64, output string) {
	var all strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		all.WriteString(lines.Text() + "\n")
		var n int64
		if _, err := fmt.Sscanf(lines.Text(), "committed rows: %d", &n); err == nil {
			acked = n
		}
	}
	return acked, all.String()
}

// lose deletes the file, and opens what the store has.
func (k *killer) lose() {
	k.t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(k.db + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.t.Fatal(err)
		}
	}
	db, _ := k.open()
	k.acked = k.rows(db)
	k.lost, k.back = k.lost+1, k.back+k.acked
	if err := db.Close(); err != nil {
		k.t.Fatal(err)
	}
}

func (k *killer) open() (*driftdb.DB, objstore.Store) {
	k.t.Helper()
	store, err := objstore.Dir(k.store)
	if err != nil {
		k.t.Fatal(err)
	}
	db, err := driftdb.Open(k.t.Context(), driftdb.Config{Name: "app", Path: k.db, Store: store, ManualSync: true, AutoRestore: true})
	if err != nil {
		k.t.Fatal(err)
	}
	return db, store
}

// check opens what the killed process left, sends it, and compares it with
// what a restore makes of it.
func (k *killer) check() (rows int64) {
	k.t.Helper()
	ctx := k.t.Context()
	if _, err := os.Stat(k.db); err != nil {
		return 0 // killed before there was anything
	}
	db, store := k.open()
	rows = k.rows(db)
	if err := db.Shutdown(ctx); err != nil {
		k.t.Fatal(err)
	}
	// An import may have committed one transaction that it could not tell of.
	if rows < k.acked || rows > k.acked+k.batch || rows%k.batch != 0 {
		k.t.Fatalf("%d rows, %d acknowledged", rows, k.acked)
	}
	k.acked = rows
	copied := filepath.Join(k.dir, "copy.db")
	if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Store: store, Path: copied, Overwrite: true}); err != nil {
		if rows == 0 && db.Sequence() == 0 {
			return rows // there is nothing to restore
		}
		k.t.Fatal(err)
	}
	dbtest.Equal(k.t, k.db, copied)
	return rows
}

// rows returns how many rows there are, which must be the first ones of the file in their
// order; and what is recorded of the import must say that many.
func (k *killer) rows(db *driftdb.DB) int64 {
	k.t.Helper()
	number := func(query string) int64 {
		k.t.Helper()
		n, err := driftdb.Select[int64](k.t.Context(), db, query)
		if err != nil {
			k.t.Fatal(err)
		}
		return n[0]
	}
	if number("SELECT count(*) FROM sqlite_schema WHERE name = 't'") == 0 {
		return 0
	}
	rows := number("SELECT count(*) FROM t")
	if wrong := number("SELECT count(*) FROM t WHERE id <> CAST(rowid - 1 AS TEXT)"); wrong > 0 {
		k.t.Fatalf("%d of %d rows are not in their place", wrong, rows)
	}
	recorded := int64(0)
	if number("SELECT count(*) FROM sqlite_schema WHERE name = 'driftdb_imports'") > 0 {
		recorded = number("SELECT coalesce(sum(rows), 0) FROM driftdb_imports")
	}
	if recorded != rows {
		k.t.Fatalf("%d rows are recorded, and there are %d", recorded, rows)
	}
	return rows
}
