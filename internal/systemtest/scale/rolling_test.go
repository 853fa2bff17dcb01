package scale_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore"
)

// The environment of a process that is one version of a program.
const ()

// longestWait is how long a version waits for the one before it.
const longestWait = 30 * time.Second

// TestRollingDeploy: a new version of a program, a process of its own, starts while the
// old one still runs, and waits for it to end. It is done often, with one volume that both
// have, and with two that have the bucket in common. Nothing is lost, and no write fails
// or waits longer than LockWait.
func TestRollingDeploy(t *testing.T) {
	handovers := systemtest.Setting(t, "DRIFTDB_HANDOVERS", 4)
	for _, volumes := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d volumes", volumes), func(t *testing.T) {
			paths, bucket := [2]string{}, t.TempDir()
			for i := range paths {
				paths[i] = filepath.Join(t.TempDir(), "app.sqlite")
				if volumes == 1 {
					paths[i] = paths[0]
				}
			}
			written, longest := 0, time.Duration(0)
			ended := func(v *version) {
				n, took := v.end()
				written, longest = written+n, max(longest, took)
			}
			old := startVersion(t, paths[0], bucket)
			old.started()
			for i := 1; i <= handovers; i++ {
				next := startVersion(t, paths[i%2], bucket)
				next.waits()
				ended(old)
				next.started()
				old = next
			}
			ended(old)
			store, err := objstore.Dir(bucket)
			systemtest.Check(t, err)
			if n := notesIn(t, driftdb.Config{Name: "app", Store: store}); n != int64(written) {
				t.Errorf("%d of %d notes are restored", n, written)
			}
			t.Logf("%d hand-overs, %d writes; the longest took %s, opening and waiting included", handovers, written, longest)
		})
	}
}

// version is a process that is one version of the program.
type version struct {
	*testing.T
	cmd   *osexec.Cmd
	stdin io.WriteCloser
	says  *bufio.Scanner
}

func startVersion(t *testing.T, path, bucket string) *version {
	t.Helper()
	cmd := runVersion.Command(t.Context(), path, bucket)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	systemtest.Check(t, err)
	stdout, err := cmd.StdoutPipe()
	systemtest.Check(t, err)
	systemtest.Check(t, cmd.Start())
	return &version{T: t, cmd: cmd, stdin: stdin, says: bufio.NewScanner(stdout)}
}

// hear returns the next line that the version says.
func (v *version) hear() string {
	v.Helper()
	if !v.says.Scan() {
		v.Fatalf("the version is silent: %v", v.cmd.Wait())
	}
	return v.says.Text()
}

func (v *version) waits() {
	v.Helper()
	if said := v.hear(); said != "opening" {
		v.Fatal(said)
	}
	time.Sleep(20 * time.Millisecond) // it has found that it has to wait by now, as a rule
}

func (v *version) started() {
	v.Helper()
	for said := ""; said != "started"; {
		said = v.hear()
	}
}

// end tells the version to end, and returns what it has written.
func (v *version) end() (written int, longest time.Duration) {
	v.Helper()
	systemtest.Check(v, v.stdin.Close())
	if _, err := fmt.Sscan(v.hear(), &written, &longest); err != nil {
		v.Fatal(err)
	}
	for v.says.Scan() {
	}
	systemtest.Check(v, v.cmd.Wait())
	return written, longest
}

// runVersion is a version of the program: it opens the database, writes until it is told
// to end, and closes it.
var runVersion = subprocess.Register("runVersion", func(t testing.TB, args []string) {
	path := args[0]
	store, err := objstore.Dir(args[1])
	systemtest.Check(t, err)
	told := make(chan bool)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(told)
	}()
	ctx := context.Background()
	fmt.Println("opening")
	began, longest := time.Now(), time.Duration(0)
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: "app", Path: path, Store: store, AutoRestore: true, RefuseTakeover: true, LockWait: longestWait,
		SyncInterval: 2 * time.Millisecond,
	})
	systemtest.Check(t, err)
	systemtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS notes(id INTEGER PRIMARY KEY, text TEXT)")
	for n := 1; ; n++ {
		systemtest.Exec(t, db, "INSERT INTO notes(text) VALUES(?)", strconv.Itoa(n))
		longest = max(longest, time.Since(began))
		if n == 1 {
			fmt.Println("started")
		}
		select {
		case <-told:
			systemtest.Check(t, db.Close())
			fmt.Println(n, longest.Nanoseconds())
			return
		case <-time.After(time.Millisecond):
			began = time.Now()
		}
	}
})
