package vfstest_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/vfs/vfstest"
)

func TestMain(m *testing.M) {
	if err := vfstest.Install(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// watched is a database with a table of one row, on a disk that is watched.
func watched(t *testing.T, sync sqlite.Synchronous) (*vfstest.Disk, *sqlite.Conn) {
	t.Helper()
	dir := t.TempDir()
	opts := sqlite.Options{Synchronous: sync}
	c := open(t, filepath.Join(dir, "a.db"), opts)
	must(t, c.Exec("CREATE TABLE t(x); INSERT INTO t VALUES('before')"))
	must(t, c.Close())
	d, err := vfstest.Watch(dir)
	must(t, err)
	t.Cleanup(d.Close)
	return d, open(t, filepath.Join(dir, "a.db"), opts)
}

func open(t *testing.T, path string, opts sqlite.Options) *sqlite.Conn {
	t.Helper()
	c, err := sqlite.Open(path, opts)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// left is what a database holds after power loss.
func left(t *testing.T, d *vfstest.Disk, share float64) string {
	t.Helper()
	dir := t.TempDir()
	s := vfstest.Subset{Rand: rand.New(rand.NewPCG(1, 2)), Share: share}
	must(t, d.Image(len(d.Ops()), s).Write(dir))
	c := open(t, filepath.Join(dir, "a.db"), sqlite.Options{MustExist: true})
	rows, err := c.Text("SELECT group_concat(x) FROM t")
	must(t, err)
	return rows
}

// TestSyncKeeps: power loss leaves what was synced, and of the rest what the subset says.
func TestSyncKeeps(t *testing.T) {
	for sync, none := range map[sqlite.Synchronous]string{sqlite.SyncFull: "before,after", sqlite.SyncNormal: "before"} {
		d, c := watched(t, sync)
		must(t, c.Exec("INSERT INTO t VALUES('after')"))
		if got := left(t, d, 0); got != none {
			t.Errorf("%s, nothing of the rest: %s", sync, got)
		}
		if got := left(t, d, 1); got != "before,after" {
			t.Errorf("%s, all of the rest: %s", sync, got)
		}
		must(t, c.Exec("PRAGMA wal_checkpoint(TRUNCATE)"))
		if got := left(t, d, 0); got != "before,after" {
			t.Errorf("%s, after a checkpoint: %s", sync, got)
		}
	}
}

// TestNames: a file that was created or removed is so on disk once its folder was synced.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	d, err := vfstest.Watch(dir)
	must(t, err)
	defer d.Close()
	c := open(t, filepath.Join(dir, "a.db"), sqlite.Options{Synchronous: sqlite.SyncNormal, KeepJournal: true})
	must(t, c.Exec("PRAGMA journal_mode=WAL; CREATE TABLE t(x); PRAGMA wal_checkpoint"))
	must(t, os.WriteFile(filepath.Join(dir, "new"), []byte("text"), 0o600))
	none, all := d.Image(len(d.Ops()), vfstest.Subset{}), d.Image(len(d.Ops()), vfstest.Subset{Share: 1})
	if _, there := none["new"]; there || string(all["new"].Data) != "text" {
		t.Errorf("a file that was not synced: %v; %v", none, all)
	}
	if none["a.db"].Data == nil || none["a.db-wal"].Data == nil {
		t.Errorf("SQLite has synced the folder: %v", none)
	}
	for name := range all {
		if strings.HasSuffix(name, "-shm") {
			t.Errorf("%s survives", name)
		}
	}
}

// TestSectors: of a write that was not synced, each sector is there as a whole, or not.
func TestSectors(t *testing.T) {
	d, c := watched(t, sqlite.SyncNormal)
	at := len(d.Ops())
	must(t, c.Exec("INSERT INTO t VALUES(zeroblob(20000))"))
	all := d.Image(len(d.Ops()), vfstest.Subset{Share: 1})["a.db-wal"].Data
	rng := rand.New(rand.NewPCG(3, 4))
	parts := 0
	for range 20 {
		some := d.Image(len(d.Ops()), vfstest.Subset{Rand: rng, Share: 0.5})["a.db-wal"].Data
		for from := 32; from+512 <= len(some); from += 512 {
			end := from/512*512 + 512
			got, want := some[end-512:end], all[end-512:end]
			if !bytes.Equal(got, want) {
				parts++
			}
		}
		if len(some)%512 != 0 && len(some) != len(all) {
			t.Errorf("%d bytes of %d", len(some), len(all))
		}
	}
	if parts == 0 || at == len(d.Ops()) {
		t.Error("nothing is missing")
	}
}

// TestFailedSync: what a failed sync was to keep stays readable, and is on no disk, though
// the next one succeeds.
func TestFailedSync(t *testing.T) {
	d, c := watched(t, sqlite.SyncFull)
	must(t, c.Exec("INSERT INTO t VALUES('kept')"))
	d.Inject(vfstest.Fault{On: vfstest.Sync, Of: "-wal", At: 1, Times: 1, How: vfstest.EIO})
	if err := c.Exec("INSERT INTO t VALUES('lost')"); err == nil || d.Fired() != 1 {
		t.Errorf("the commit says %v, %d faults", err, d.Fired())
	}
	if got := left(t, d, 1); got != "before,kept" {
		t.Errorf("it holds %s", got)
	}
}

// TestFaults: each fault is an error of the statement that meets it, and of no other.
func TestFaults(t *testing.T) {
	for _, how := range []vfstest.How{vfstest.EIO, vfstest.ENOSPC, vfstest.Short, vfstest.Torn} {
		d, c := watched(t, sqlite.SyncNormal)
		d.Inject(vfstest.Fault{On: vfstest.Write, At: 2, Times: 1, How: how})
		if err := c.Exec("INSERT INTO t VALUES('failed')"); err == nil || d.Fired() != 1 {
			t.Errorf("%s: the statement says %v, %d faults", how, err, d.Fired())
		}
		must(t, c.Exec("INSERT INTO t VALUES('again')"))
		rows, err := c.Text("SELECT group_concat(x) FROM t")
		must(t, err)
		if rows != "before,again" {
			t.Errorf("%s: it holds %s", how, rows)
		}
	}
	d, c := watched(t, sqlite.SyncNormal)
	d.Inject(vfstest.Fault{On: vfstest.Read, Of: ".db", Times: math.MaxInt, How: vfstest.EIO})
	if _, err := c.Text("SELECT x FROM t"); err == nil {
		t.Error("a read succeeds")
	}
}

// TestUnwatched: a folder that no disk watches has nothing to do with one.
func TestUnwatched(t *testing.T) {
	d, _ := watched(t, sqlite.SyncNormal)
	before := len(d.Ops())
	d.Inject(vfstest.Fault{On: vfstest.Write, Times: math.MaxInt, How: vfstest.EIO})
	c := open(t, filepath.Join(t.TempDir(), "b.db"), sqlite.Options{})
	must(t, c.Exec("CREATE TABLE t(x)"))
	if after := d.Ops(); len(after) != before || slices.ContainsFunc(after, func(op vfstest.Op) bool { return strings.Contains(op.Path, "b.db") }) {
		t.Errorf("%v", after[before:])
	}
}
