package sqlite

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
)

func TestMain(m *testing.M) {
	subprocess.Main()
	os.Exit(m.Run())
}

// syncsMarked is a process that writes a marker before and after SyncWAL.
var syncsMarked = subprocess.Register("syncsMarked", func(t testing.TB, args []string) {
	syncWAL(t, args[0], func() {
		if err := os.WriteFile(filepath.Join(args[0], "marker"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	})
})

// TestSyncWAL: SyncWAL puts on disk what another connection has committed. That it
// does, only the system can tell: strace sees the call, where there is strace.
func TestSyncWAL(t *testing.T) {
	syncWAL(t, t.TempDir(), func() {})
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("there is no strace")
	}
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	cmd := exec.CommandContext(t.Context(), strace, "-f", "-y", "-e", "trace=openat,fsync,fdatasync", "-o", trace, os.Args[0], dir)
	cmd.Env = syncsMarked.Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("strace does not work here: %v: %s", err, out)
	}
	calls, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(calls), "/marker\"")
	if len(parts) != 3 || !strings.Contains(parts[1], "sync(") || !strings.Contains(parts[1], "app.db-wal>") {
		t.Errorf("between the markers: %q", parts[1:])
	}
}

// syncWAL commits on one connection and calls SyncWAL on another, between two calls
// of mark.
func syncWAL(t testing.TB, dir string, mark func()) {
	path := filepath.Join(dir, "app.db")
	writer, err := new(Driver).Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	c, err := new(Driver).Open(path, Options{Synchronous: SyncFull})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := writer.Exec("CREATE TABLE t(x); INSERT INTO t VALUES(1)"); err != nil {
		t.Fatal(err)
	}
	mark()
	if err := c.SyncWAL(); err != nil {
		t.Error(err)
	}
	mark()
	if n, err := c.Int("SELECT x FROM t"); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

// TestSyncWALWithout: a database that has no WAL has nothing to sync.
func TestSyncWALWithout(t *testing.T) {
	c, err := new(Driver).Open(filepath.Join(t.TempDir(), "app.db"), Options{KeepJournal: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec("CREATE TABLE t(x)"); err != nil {
		t.Fatal(err)
	}
	if err := c.SyncWAL(); err != nil {
		t.Error(err)
	}
}
