package faults_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// followUntilKilled follows the database of killedConfig until it has a change. It says
// where it is, and when it reads a snapshot.
var followUntilKilled = subprocess.Register("followUntilKilled", func(t testing.TB, args []string) {
	ctx := context.Background()
	until, err := strconv.ParseInt(args[1], 10, 64)
	systemtest.Check(t, err)
	cfg := killedConfig(t, args[0])
	store := objstoretest.Break(cfg.Store, func(c objstoretest.Call) objstoretest.Fault {
		if c.Op == objstoretest.Get && strings.Contains(c.Key, "/snapshots/") {
			fmt.Println("snapshot")
		}
		return objstoretest.Fault{}
	})
	fmt.Println("starts")
	b, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: store})
	systemtest.Check(t, err)
	f, err := b.Follow(ctx, followerPath(args[0]), driftdb.FollowConfig{PollInterval: 10 * time.Millisecond})
	systemtest.Check(t, err)
	for at := f.Sequence(); at < until; at = f.Sequence() {
		fmt.Println("at", at)
		systemtest.Check(t, f.WaitFor(ctx, at+1))
	}
	systemtest.Check(t, f.Close())
})

func followerPath(dir string) string { return filepath.Join(dir, "follower.sqlite") }

// TestKilledFollowers kills processes that follow a database, at any moment. The file then
// is what the source was at some commit, accounts for that, and the next process goes on
// from there, without a snapshot. DRIFTDB_FOLLOWER_KILLS says how many, DRIFTDB_SEED when.
func TestKilledFollowers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	normal := 25
	if testing.Short() {
		normal = 5
	}
	kills := systemtest.Setting(t, "DRIFTDB_FOLLOWER_KILLS", normal)
	seed := uint64(systemtest.Setting(t, "DRIFTDB_SEED", rand.IntN(1<<31)))
	t.Logf("DRIFTDB_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := systemtest.MemoryDir(t)
	systemtest.Check(t, os.Mkdir(filepath.Join(dir, "store"), 0o700))
	w := startFollowed(t, dir)
	k := &followerKills{T: t, dir: dir, source: w}
	for k.killed < kills {
		k.from = rnd.IntN(4) // lines that it says before
		k.run(time.Duration(rnd.Int64N(int64(150*time.Millisecond))), 1<<62)
		k.look()
	}
	last := w.end()
	k.run(0, last)
	dbtest.Equal(t, w.path, followerPath(dir))
	t.Logf("%d processes were killed, %d before the file was there; %d times the file had moved; %d changes", k.killed, k.absent, k.moved, last)
	if k.moved == 0 {
		t.Error("no process has lived long enough to apply anything")
	}
}

// followerKills are the lives and deaths of followers of one file.
type followerKills struct {
	*testing.T
	dir    string
	source *followed
	from   int // the time of a process runs from when it has said so many lines, and one more
	killed int
	absent int
	moved  int
	at     int64
}

// run lets a process follow, and kills it after a while; 0: lets it end.
func (k *followerKills) run(after time.Duration, until int64) {
	k.Helper()
	resumes := systemtest.Exists(followerPath(k.dir))
	cmd := followUntilKilled.Command(k.Context(), k.dir, strconv.FormatInt(until, 10))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	systemtest.Check(k, err)
	systemtest.Check(k, cmd.Start())
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if said = append(said, lines.Text()); len(said) == 1+k.from && after > 0 {
			timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // fails if it has ended
			defer timer.Stop()
		}
		if lines.Text() == "snapshot" && resumes {
			k.Errorf("a process that found the file at %d read a snapshot: %q", k.at, said)
		}
	}
	if err := cmd.Wait(); (err == nil) != (after == 0) || err != nil && cmd.ProcessState.ExitCode() != -1 {
		k.Fatalf("the process ended by itself: %v\n%q", err, said)
	}
	if after > 0 {
		k.killed++
	}
}

// look looks at what a process that was killed has left.
func (k *followerKills) look() {
	k.Helper()
	path := followerPath(k.dir)
	if !systemtest.Exists(path) {
		k.absent++
		return
	}
	there := filepath.Join(k.TempDir(), "look.sqlite")
	systemtest.Check(k, systemtest.CloneDisk(path, there))
	c, err := new(sqlite.Driver).Open(there, sqlite.Options{MustExist: true})
	systemtest.Check(k, err)
	log := changelog.View(c)
	books, err := log.Books()
	systemtest.Check(k, err)
	last, err := log.Last()
	systemtest.Check(k, err)
	whole, err := c.Text("PRAGMA integrity_check")
	systemtest.Check(k, err)
	rows, err := c.Int("SELECT CASE WHEN count(*) = (SELECT n FROM b) AND count(*) = max(id) THEN count(*) ELSE -1 END FROM a")
	systemtest.Check(k, errors.Join(err, c.Close()))
	if want, commit := k.source.committed(last); !commit || rows != want || books.Acked != last || whole != "ok" {
		k.Fatalf("the file is at %d, its books at %d, and it has %d transactions, want %d; %s", last, books.Acked, rows, want, whole)
	}
	if last < k.at {
		k.Fatalf("the file was at %d, and is at %d", k.at, last)
	}
	if last > k.at {
		k.at, k.moved = last, k.moved+1
	}
}

// followed is the database that is followed, and somebody who writes to it.
type followed struct {
	path string
	db   *driftdb.DB
	t    *testing.T
	stop chan struct{}
	done sync.WaitGroup

	mu  sync.Mutex
	had map[int64]int64 // how many transactions there were, by sequence
}

func startFollowed(t *testing.T, dir string) *followed {
	cfg := killedConfig(t, dir)
	cfg.SyncInterval, cfg.SnapshotEvery, cfg.MaxBatchSize = 10*time.Millisecond, 0, 0 // so that it keeps up on a busy machine
	w := &followed{t: t, path: cfg.Path, stop: make(chan struct{}), had: map[int64]int64{}}
	w.db = systemtest.Open(t, cfg)
	systemtest.Exec(t, w.db, "CREATE TABLE a(id INTEGER PRIMARY KEY, v); CREATE TABLE b(n); INSERT INTO b VALUES(0)")
	w.commit(1)
	systemtest.Check(t, w.db.Flush(t.Context()))
	w.done.Go(func() {
		for n := int64(2); ; n++ {
			select {
			case <-w.stop:
				return
			case <-time.After(10 * time.Millisecond):
				w.commit(n)
			}
		}
	})
	return w
}

func (w *followed) commit(n int64) {
	w.mu.Lock() // nobody sees the change before it is in had
	defer w.mu.Unlock()
	var tx *driftdb.Tx
	err := w.db.Tx(context.Background(), func(x *driftdb.Tx) error {
		tx = x
		_, err := x.Exec(context.Background(), "INSERT INTO a VALUES(?1, ?1 * 7); UPDATE b SET n = ?1", n)
		return err
	})
	if err != nil {
		w.t.Error(err)
		return
	}
	w.had[tx.Sequence()] = n
}

// committed is how many transactions there were at a sequence, if one ended there.
func (w *followed) committed(sequence int64) (int64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, ok := w.had[sequence]
	return n, ok
}

// end stops writing, and returns the last change.
func (w *followed) end() int64 {
	close(w.stop)
	w.done.Wait()
	systemtest.Check(w.t, w.db.Flush(w.t.Context()))
	w.mu.Lock()
	defer w.mu.Unlock()
	var last int64
	for sequence := range maps.Keys(w.had) {
		last = max(last, sequence)
	}
	return last
}
