//go:build linux || darwin

package sqlite_test

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// TestLedgerCommitThatFails: behind the commit hook a commit can still fail,
// for want of disk space. It is no commit then, and a foreign one in its place
// is noticed.
func TestLedgerCommitThatFails(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	ours, also, foreign := ledgered(t)
	run(t, ours, "INSERT INTO t VALUES(1)")
	path, err := ours.Text("SELECT file FROM pragma_database_list WHERE name = 'main'")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if fullCommit(t, ours, path) == nil {
			t.Fatal("a commit on a full disk succeeded")
		}
	}
	if missed(t, ours) || missed(t, also) {
		t.Fatal("a commit that failed was taken for a foreign one")
	}
	if fullCommit(t, ours, path) == nil {
		t.Fatal("a commit on a full disk succeeded")
	}
	run(t, foreign, "INSERT INTO t VALUES(3)")
	if !missed(t, also) {
		t.Error("a foreign commit in the place of one that failed was not found")
	}
}

// fullCommit commits while the WAL cannot grow.
func fullCommit(t *testing.T, c *sqlite.Conn, path string) error {
	t.Helper()
	wal, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	limit := func(set func(*syscall.Rlimit)) {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
		set(&l)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
	}
	limit(func(l *syscall.Rlimit) { l.Cur = uint64(wal.Size()) })
	defer limit(func(l *syscall.Rlimit) { l.Cur = l.Max })
	return c.Exec("INSERT INTO t VALUES(2)")
}
