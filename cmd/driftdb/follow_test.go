package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestFollowCommand follows a database while another process writes to it, is interrupted,
// goes on where it was, and makes the file the writer's.
func TestFollowCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send signals there")
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	systemtest.Check(t, os.Mkdir(at("store"), 0o700))
	place := []string{"--store", folderURL(at("store")), "--name", "app"}
	rows := func(db, csv string) {
		t.Helper()
		runs(t, csv, 0, append([]string{"import", "--db", db, "--table", "t", "-"}, place...)...)
	}
	rows(at("a.db"), "a,b\n1,x\n")
	follow := append([]string{"follow", "--out", at("f.db"), "--json", "--poll", "50ms", "--exec",
		`echo "$DRIFTDB_SEQUENCE $DRIFTDB_FILE" >>` + at("hook.log") + `; echo from the hook`}, place...)

	f := startFollow(t, follow)
	first := f.step()
	rows(at("a.db"), "a,b\n2,y\n3,z\n")
	for f.last < first.Sequence+2 {
		if s := f.step(); s.Changes < 1 {
			t.Errorf("a step: %+v", s)
		}
	}
	dbtest.Equal(t, at("a.db"), at("f.db"))
	runs(t, "", exitFailed, append([]string{"follow", "--out", at("f.db")}, place...)...) // in use
	f.interrupt()
	if said := f.said(); !strings.Contains(said, "from the hook") || strings.Contains(said, "driftdb:") {
		t.Errorf("standard error: %q", said)
	}
	f = startFollow(t, follow)
	if again := f.step(); again.Sequence != first.Sequence+2 || again.Changes != 0 {
		t.Errorf("it begins again with %+v", again)
	}
	f.interrupt()
	hooked, err := os.ReadFile(at("hook.log"))
	if lines := strings.Fields(string(hooked)); err != nil || len(lines) < 4 || lines[1] != at("f.db") {
		t.Errorf("the hook has written %q, %v", hooked, err)
	}

	runs(t, "a\n1\n", exitFailed, append([]string{"import", "--db", at("f.db"), "--table", "t", "-"}, place...)...) // a follower's
	out := runs(t, "", 0, append([]string{"promote", "--db", at("f.db"), "--json"}, place...)...)
	var done promoted
	if err := json.Unmarshal([]byte(out), &done); err != nil || done.Sequence != first.Sequence+2 || done.Node == "" {
		t.Errorf("promote: %s, %v", out, err)
	}
	rows(at("f.db"), "a,b\n4,w\n")
	runs(t, "", exitFailed, append([]string{"promote", "--db", at("f.db")}, place...)...) // is the writer's
	rows(at("a.db"), "a,b\n5,v\n")                                                        // has nothing of its own, and takes it back
	runs(t, "", exitUsage, append([]string{"follow", "--out", at("g.db"), "--poll", "0s"}, place...)...)
	if systemtest.Exists(at("g.db")) {
		t.Error("a call with a wrong flag has made a file")
	}
}

// runs runs driftdb with an input, and returns what it prints. Its exit code must be want.
func runs(t *testing.T, stdin string, want int, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "driftdb", args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("driftdb %q: exit code %d, want %d: %v\n%s", args, got, want, err, &stderr)
	}
	if want == exitFailed && !strings.HasPrefix(stderr.String(), "driftdb: ") {
		t.Errorf("driftdb %q says %q", args, &stderr)
	}
	return string(out)
}

// followRun is a run of driftdb follow --json.
type followRun struct {
	*testing.T
	cmd    *exec.Cmd
	steps  *bufio.Scanner
	stderr *strings.Builder
	last   int64
}

func startFollow(t *testing.T, args []string) *followRun {
	t.Helper()
	f := &followRun{T: t, cmd: exec.CommandContext(t.Context(), "driftdb", args...), stderr: new(strings.Builder)}
	f.cmd.Stderr = f.stderr
	out, err := f.cmd.StdoutPipe()
	systemtest.Check(t, err)
	systemtest.Check(t, f.cmd.Start())
	f.steps = bufio.NewScanner(out)
	return f
}

// step reads the next step.
func (f *followRun) step() (s followedStep) {
	f.Helper()
	if !f.steps.Scan() {
		f.Fatalf("follow has ended: %v\n%s", f.cmd.Wait(), f.stderr)
	}
	if err := json.Unmarshal(f.steps.Bytes(), &s); err != nil {
		f.Fatalf("%q: %v", f.steps.Text(), err)
	}
	f.last = s.Sequence
	return s
}

// interrupt ends the run, which is no failure.
func (f *followRun) interrupt() {
	f.Helper()
	systemtest.Check(f, f.cmd.Process.Signal(os.Interrupt))
	for f.steps.Scan() {
	}
	if err := f.cmd.Wait(); err != nil {
		f.Fatalf("interrupted: %v\n%s", err, f.stderr)
	}
}

func (f *followRun) said() string { return f.stderr.String() }
