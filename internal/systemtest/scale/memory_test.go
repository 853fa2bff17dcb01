package scale_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// memoryRun is what a process does that is measured, and what was measured.
type memoryRun struct {
	Databases, Readers, MB int
	CacheBytes             int64
	BuiltIn                bool // SQLite's own page cache, 62 MiB for each connection

	Start    int64 // bytes resident: before the first Open,
	Resident int64 // when all readers have read all and are still open,
	Peak     int64 // and at the worst moment, filling the databases included

	Read, Close time.Duration // the second reading; closing all
}

// TestResident reads databases with many readers each, in a process of its own, and
// bounds what that takes. Beside it, a process with SQLite's own page cache does the same.
func TestResident(t *testing.T) {
	if os.Getenv("DRIFTDB_MEMORY") == "" {
		t.Skip("set DRIFTDB_MEMORY, or: make memory")
	}
	if _, err := resident("VmRSS"); err != nil {
		t.Skip(err)
	}
	run := memoryRun{Databases: 5, Readers: 8, MB: 48, CacheBytes: 64 << 20}
	plain := run
	plain.BuiltIn = true
	for _, r := range []*memoryRun{&run, &plain} {
		r.inChild(t)
		what := "one cache for the connections of a database"
		if r.BuiltIn {
			what = "SQLite's page cache, 62 MiB for each connection"
		}
		t.Logf("%d databases of %d MB, %d readers each; %s: %d MiB resident, %d at the peak, %d before; read again in %s, closed in %s",
			r.Databases, r.MB, r.Readers, what, r.Resident>>20, r.Peak>>20, r.Start>>20, r.Read.Round(time.Millisecond), r.Close.Round(time.Millisecond))
	}
	if took, most := run.Resident-run.Start, int64(run.Databases)*(run.CacheBytes+8<<20); took > most {
		t.Errorf("the databases take %d MiB; at most %d are allowed", took>>20, most>>20)
	}
}

// inChild does the run in a process of its own.
func (r *memoryRun) inChild(t *testing.T) {
	t.Helper()
	in, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.json")
	cmd := residentRun.Command(t.Context(), string(in), out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	text, err := os.ReadFile(out)
	if err == nil {
		err = json.Unmarshal(text, r)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// residentRun does a run, and writes what it has measured into a file.
var residentRun = subprocess.Register("residentRun", func(t testing.TB, args []string) {
	var r memoryRun
	systemtest.Check(t, json.Unmarshal([]byte(args[0]), &r))
	if r.BuiltIn {
		useBuiltInCache(t)
	}
	r.do(t)
	out, err := json.Marshal(r)
	systemtest.Check(t, err)
	systemtest.Check(t, os.WriteFile(args[1], out, 0o600))
})

// useBuiltInCache configures SQLite's own page cache, as a program may.
func useBuiltInCache(t testing.TB) {
	t.Helper()
	tls := libc.NewTLS()
	defer tls.Close()
	none := libc.Xcalloc(tls, 1, 256) // methods without xInit stand for its own
	args := libc.Xcalloc(tls, 1, 8)
	if rc := lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_PCACHE2, libc.VaList(args, none)); rc != lib.SQLITE_OK {
		t.Fatalf("SQLITE_CONFIG_PCACHE2: %d", rc)
	}
}

func (r *memoryRun) do(t testing.TB) {
	ctx := t.Context()
	var err error
	r.Start, err = resident("VmRSS")
	systemtest.Check(t, err)
	var dbs []*driftdb.DB
	for i := range r.Databases {
		cfg := systemtest.Config(t)
		cfg.Store, cfg.CacheBytes = nil, r.CacheBytes
		if r.BuiltIn {
			cfg.CacheBytes = 8 * 64000 << 10 // of which a connection has an eighth then
		}
		cfg.Name = fmt.Sprintf("app%d", i)
		db, err := driftdb.Open(ctx, cfg)
		systemtest.Check(t, err)
		dbs = append(dbs, db)
		systemtest.Exec(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB)")
		for range r.MB / 4 {
			systemtest.Exec(t, db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) INSERT INTO t (a) SELECT randomblob(1000) FROM n")
		}
	}
	debug.FreeOSMemory() // Go's garbage of filling them
	for range 2 {
		r.readAll(t, dbs)
	}
	r.Peak, err = resident("VmHWM")
	systemtest.Check(t, err)
	start := time.Now()
	for _, db := range dbs {
		systemtest.Check(t, db.Close())
	}
	r.Close = time.Since(start)
}

// readAll reads all of each database with all readers at the same time.
func (r *memoryRun) readAll(t testing.TB, dbs []*driftdb.DB) {
	var readers, ready, done, measured sync.WaitGroup
	ready.Add(len(dbs) * r.Readers)
	done.Add(len(dbs) * r.Readers)
	measured.Add(1)
	for _, db := range dbs {
		for range r.Readers {
			readers.Go(func() {
				systemtest.Check(t, db.ReadTx(context.Background(), func(tx *driftdb.Tx) error {
					ready.Done()
					ready.Wait() // so that each has a connection of its own
					_, err := driftdb.Select[int64](context.Background(), tx, "SELECT sum(length(hex(substr(a, 900)))) FROM t")
					done.Done()
					measured.Wait()
					return err
				}))
			})
		}
	}
	ready.Wait()
	start := time.Now()
	done.Wait()
	r.Read = time.Since(start)
	var err error
	r.Resident, err = resident("VmRSS")
	systemtest.Check(t, err)
	measured.Done()
	readers.Wait()
}

// resident is a field of the process's status, in bytes.
func resident(field string) (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if kb, ok := strings.CutPrefix(string(line), field+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no %s", field)
}
