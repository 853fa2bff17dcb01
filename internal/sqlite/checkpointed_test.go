package sqlite_test

import (
	"bufio"
	"fmt"
	"os"
	osexec "os/exec"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// envTaken has the file for TestCheckpoints.
const envTaken = "DRIFTDB_CHECKPOINTS_PATH"

// TestCheckpoints is no test: it is another process, which holds the lock for checkpoints until
// it may go on, and takes it again and again then.
func TestCheckpoints(t *testing.T) {
	path := os.Getenv(envTaken)
	if path == "" {
		t.Skip("is the program that TestCheckpointSeen starts")
	}
	c := newConn(t, path)
	run(t, c, countRows)
	if !c.BeginCheckpoint() {
		t.Fatal("the lock is taken")
	}
	fmt.Println("taken")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	c.EndCheckpoint()
	fmt.Println("released")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	fmt.Println("refused:", takes(c))
}

// takes takes the lock for checkpoints 20,000 times, and returns how often that was refused.
func takes(c *sqlite.Conn) (refused int) {
	for range 20000 {
		if c.BeginCheckpoint() {
			c.EndCheckpoint()
		} else {
			refused++
		}
	}
	return refused
}

// TestCheckpointSeen: a reader sees a checkpoint of another connection, of this process or of
// another one, and is never in its way.
func TestCheckpointSeen(t *testing.T) {
	path := newFile(t)
	reader, other := newConn(t, path), newConn(t, path)
	for _, c := range []*sqlite.Conn{reader, other} {
		run(t, c, countRows)
	}
	check := func(when string, want bool) {
		t.Helper()
		if got := reader.Checkpointed(); got != want {
			t.Errorf("%s: a checkpoint is seen: %v", when, got)
		}
	}
	check("before", false)
	if !other.BeginCheckpoint() {
		t.Fatal("the lock is taken")
	}
	check("during one of this process", true)
	other.EndCheckpoint()
	check("after it", false)
	whileLooking(reader, func() { expectNone(t, takes(other)) })

	rival := osexec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCheckpoints$", "-test.timeout=0")
	rival.Env = append(os.Environ(), envTaken+"="+path)
	in, _ := rival.StdinPipe()
	out, _ := rival.StdoutPipe()
	if err := rival.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	said.Scan()
	check("during another process's: "+said.Text(), true)
	fmt.Fprintln(in)
	said.Scan()
	check("after it: "+said.Text(), false)
	whileLooking(reader, func() {
		fmt.Fprintln(in)
		said.Scan()
	})
	var refused int
	if _, err := fmt.Sscanf(said.Text(), "refused: %d", &refused); err != nil {
		t.Errorf("%q: %v", said.Text(), err)
	}
	expectNone(t, refused)
	_ = in.Close()
	for said.Scan() { // until it ends
	}
	if err := rival.Wait(); err != nil {
		t.Error(err)
	}
}

// whileLooking calls fn while c looks for checkpoints without a pause.
func whileLooking(c *sqlite.Conn, fn func()) {
	var over atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !over.Load() {
			c.Checkpointed()
		}
	}()
	fn()
	over.Store(true)
	<-ended
}

func expectNone(t *testing.T, refused int) {
	t.Helper()
	if refused > 0 && runtime.GOOS != "windows" { // which does not say who has a lock
		t.Errorf("%d of 20,000 checkpoints were refused because a reader looked for them", refused)
	}
}
