//go:build linux || darwin

package writers_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestStoppedWriter stops a process in the middle of whatever it does, lets
// another one take the database over, and wakes the first one up, which knows
// nothing of that: what it goes on with must not come into the history, and
// what it was told to be safe must be in a branch.
func TestStoppedWriter(t *testing.T) {
	for round := range 4 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			store, err := objstore.Dir(dir)
			systemtest.Check(t, err)
			first := startRival(t, dir, "A")
			first.until(func() bool { return first.acked() > 5*(round+1) })
			first.stop(store)
			second := startRival(t, dir, "B")
			second.until(func() bool { return second.acked() > 3 })
			first.signal(syscall.SIGCONT)
			first.until(func() bool { return first.said == "fenced" })
			systemtest.Check(t, first.end())
			systemtest.Check(t, second.end())
			if second.said != "done" {
				t.Errorf("the one that took over: %s", second.said)
			}
			if first.acked() < len(first.rows) || second.acked() < len(second.rows) {
				t.Errorf("%d of %d rows of the first, %d of %d of the second are acknowledged in the end", first.acked(), len(first.rows), second.acked(), len(second.rows))
			}
			checkRivals(t, store, first, second)
		})
	}
}

// checkRivals: the history is that of the second writer, who began with what
// the first one had sent by then; the rest of that one is a branch.
func checkRivals(t *testing.T, store objstore.Store, first, second *process) {
	cfg := driftdb.RestoreConfig{Name: "app", Store: store}
	info, err := systemtest.InfoOf(t.Context(), systemtest.BackupOf(cfg))
	systemtest.Check(t, err)
	history := restoredRows(t, cfg)
	taken := slices.IndexFunc(history, func(row string) bool { return strings.HasPrefix(row, "B") })
	if taken < 0 || taken > len(first.rows) || !slices.Equal(history[:taken], first.rows[:taken]) || !slices.Equal(history[taken:], second.rows) {
		t.Errorf("the history is %q; the first wrote %q, and then the second %q", history, first.rows, second.rows)
	}
	if taken == len(first.rows) {
		return // it was stopped before it wrote another one
	}
	var kept [][]string
	for _, b := range info.Branches {
		cfg.Branch = b.ID
		kept = append(kept, restoredRows(t, cfg))
	}
	if len(kept) != 1 || !slices.Equal(kept[0], first.rows) {
		t.Errorf("the first wrote %q, and kept are %q", first.rows, kept)
	}
}

func restoredRows(t *testing.T, cfg driftdb.RestoreConfig) []string {
	t.Helper()
	cfg.Path = filepath.Join(t.TempDir(), "restored.sqlite")
	_, err := driftdb.Restore(t.Context(), cfg)
	systemtest.Check(t, err)
	db, err := driftdb.Open(t.Context(), driftdb.Config{Name: "restored", Path: cfg.Path})
	systemtest.Check(t, err)
	rows, err := driftdb.Select[string](t.Context(), db, "SELECT row FROM t ORDER BY id")
	systemtest.Check(t, errors.Join(err, db.Close()))
	return rows
}

// process is another process that writes.
type process struct {
	t      *testing.T
	cmd    *osexec.Cmd
	stdin  io.Closer
	lines  *bufio.Scanner
	rows   []string
	at     []int64 // their sequences
	synced int64   // what it was told to be in the bucket
	said   string  // anything else
}

func startRival(t *testing.T, dir, name string) *process {
	t.Helper()
	cmd := runRival.Command(t.Context(), name, filepath.Join(t.TempDir(), "rival.sqlite"), dir)
	stdin, err := cmd.StdinPipe()
	systemtest.Check(t, err)
	stdout, err := cmd.StdoutPipe()
	systemtest.Check(t, err)
	cmd.Stderr = os.Stderr
	systemtest.Check(t, cmd.Start())
	return &process{t: t, cmd: cmd, stdin: stdin, lines: bufio.NewScanner(stdout)}
}

func (p *process) acked() (n int) {
	for _, at := range p.at {
		if at <= p.synced {
			n++
		}
	}
	return n
}

// next reads what the process says next.
func (p *process) next() bool {
	if !p.lines.Scan() {
		return false
	}
	var row string
	var at int64
	switch line := p.lines.Text(); {
	case scanned(line, "row %s %d", &row, &at):
		p.rows, p.at = append(p.rows, row), append(p.at, at)
	case scanned(line, "synced %d", &at):
		p.synced = at
	case p.said == "":
		p.said = line
	}
	return true
}

func scanned(line, format string, to ...any) bool {
	n, err := fmt.Sscanf(line, format, to...)
	return err == nil && n == len(to)
}

// until listens until something is so.
func (p *process) until(so func() bool) {
	p.t.Helper()
	for !so() {
		if !p.next() {
			p.t.Fatalf("the process has ended, and said %q: %v", p.said, p.cmd.Wait())
		}
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	systemtest.Check(p.t, p.cmd.Process.Signal(s))
}

// stop stops the process, but not while it holds the folder's lock: nobody
// could take over from that one before it goes on.
func (p *process) stop(store objstore.Store) {
	p.t.Helper()
	for p.t.Context().Err() == nil {
		p.signal(syscall.SIGSTOP)
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Second)
		_, err := store.Put(ctx, "free", strings.NewReader(""), objstore.PutOptions{})
		cancel()
		if err == nil {
			return
		}
		p.signal(syscall.SIGCONT)
	}
}

// end lets the process come to its end, and hears it out.
func (p *process) end() error {
	err := p.stdin.Close()
	for p.next() {
	}
	return errors.Join(err, p.lines.Err(), p.cmd.Wait())
}

// runRival writes and syncs until its input ends, or it is told that it has lost.
var runRival = subprocess.Register("runRival", func(t testing.TB, args []string) {
	name, ctx := args[0], t.Context()
	store, err := objstore.Dir(args[2])
	systemtest.Check(t, err)
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: "app", Path: args[1], Store: store, AutoRestore: true,
		SyncInterval: time.Millisecond, ManifestInterval: 10 * time.Millisecond, SnapshotEvery: 50,
	})
	systemtest.Check(t, err)
	defer db.Close()
	_, err = db.Exec(ctx, "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, row TEXT)")
	systemtest.Check(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	for n := 1; ; n++ {
		row := fmt.Sprint(name, n)
		if _, err = db.Exec(ctx, "INSERT INTO t(row) VALUES(?)", row); err == nil {
			fmt.Println("row", row, db.Sequence())
		}
		select {
		case <-ended:
			systemtest.Check(t, db.Flush(ctx))
			fmt.Println("synced", db.Metrics().SyncedSequence)
			fmt.Println("done")
			return
		default:
		}
		if n%3 == 0 && err == nil {
			err = db.Flush(ctx)
		}
		fmt.Println("synced", db.Metrics().SyncedSequence)
		if errors.Is(err, driftdb.ErrFenced) {
			break
		}
		systemtest.Check(t, err)
	}
	if err := db.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) { // and stores the rest as a branch
		t.Error(err)
	}
	fmt.Println("synced", db.Metrics().SyncedSequence)
	fmt.Println("fenced")
	<-ended
})
