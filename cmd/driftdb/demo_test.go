package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestDemoLeavesNothing ends a demo early, in each way that a reader of it may: its folder is
// removed.
func TestDemoLeavesNothing(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send signals there")
	}
	for name, end := range map[string]func(*exec.Cmd, interface{ Close() error }) error{
		"interrupt": func(c *exec.Cmd, _ interface{ Close() error }) error { return c.Process.Signal(os.Interrupt) },
		"terminate": func(c *exec.Cmd, _ interface{ Close() error }) error { return c.Process.Signal(syscall.SIGTERM) },
		"pipe":      func(_ *exec.Cmd, out interface{ Close() error }) error { return out.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			cmd := exec.CommandContext(t.Context(), "driftdb", "demo")
			stdout, err := cmd.StdoutPipe()
			check(t, err)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			check(t, cmd.Start())
			lines := bufio.NewReader(stdout)
			for line := ""; !strings.HasPrefix(line, "1. "); {
				line, err = lines.ReadString('\n')
				check(t, err)
			}
			if made, _ := filepath.Glob(filepath.Join(dir, "driftdb-demo-*", "*")); len(made) == 0 {
				t.Fatal("there is no folder")
			}
			check(t, end(cmd, stdout))
			if name != "pipe" {
				for err == nil {
					_, err = lines.ReadString('\n')
				}
			}
			if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() < 1 {
				t.Errorf("%v\n%s", err, stderr.String())
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "driftdb-demo-*")); len(left) > 0 {
				t.Errorf("%s is left\n%s", left, stderr.String())
			}
		})
	}
}

// TestDemoFull: a disk that takes no more output is an error, and leaves nothing.
func TestDemoFull(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	full := fullWriter{}
	var stderr strings.Builder
	if code := run(t.Context(), []string{"demo"}, strings.NewReader(""), full, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "no space") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "driftdb-demo-*")); len(left) > 0 {
		t.Errorf("%s is left", left)
	}
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, syscall.ENOSPC }
