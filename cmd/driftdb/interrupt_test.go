package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/driftdb/driftdb-go/internal/terminal"
)

// TestInterrupt interrupts an import that waits for more input: whole
// transactions stay, and it says how many rows that are.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send signals there")
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := t.TempDir()
			db := filepath.Join(dir, "a.db")
			cmd := exec.CommandContext(t.Context(), "driftdb", "import", "--db", db, "--name", "app",
				"--store", folderURL(dir), "--table", "t", "--batch", "500", "-")
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprint(stdin, "a,b\n", strings.Repeat("1,2\n", 1200)); err != nil {
				t.Fatal(err)
			}
			var output strings.Builder
			for lines := bufio.NewScanner(stderr); lines.Scan(); {
				output.WriteString(lines.Text() + "\n")
				if lines.Text() == "committed rows: 1000" {
					if err := cmd.Process.Signal(sig); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 128+int(sig) {
				t.Fatalf("%v\n%s", err, output.String())
			}
			if want := "driftdb: interrupted: 1,000 rows are in " + db; !strings.Contains(output.String(), want) {
				t.Errorf("%q is not in\n%s", want, output.String())
			}
			if want := "hint: standard input cannot be resumed: to go on, pass the header and the rows after the first 1,000"; !strings.Contains(output.String(), want) {
				t.Errorf("%q is not in\n%s", want, output.String())
			}
			if got, err := query(db, "SELECT count(*) FROM t"); got != "1000\n" {
				t.Errorf("%s rows, %v", got, err)
			}
		})
	}
}

// TestLeaves: each command says what is left of it after Ctrl-C, unless it has nothing to wait
// for, says so itself, or runs until then.
func TestLeaves(t *testing.T) {
	without := []string{"demo", "detach", "follow", "import", "inspect", "keygen", "version"}
	for _, c := range (&app{stdout: terminal.New(io.Discard)}).root().Commands() {
		if said := leaves[c.Name()] != ""; said == slices.Contains(without, c.Name()) {
			t.Errorf("%s: it says what is left: %v", c.Name(), said)
		}
	}
}

// TestInterrupted: an interrupted command says so, what is left, and how to go on.
func TestInterrupted(t *testing.T) {
	for sig, want := range map[os.Signal]int{os.Interrupt: 130, syscall.SIGTERM: 143} {
		ctx, end := context.WithCancelCause(t.Context())
		end(interrupted{sig})
		store := t.TempDir()
		var out, errs strings.Builder
		code := run(ctx, []string{"restore", "--store", folderURL(store), "--name", "app", "--out", filepath.Join(store, "x.db")}, strings.NewReader(""), &out, &errs)
		if text := errs.String(); code != want || !strings.HasPrefix(text, "driftdb: interrupted: ") || !strings.Contains(text, "\nhint: the file is as it was before; run the same command again\n") {
			t.Errorf("%v: exit code %d, want %d\n%s", sig, code, want, text)
		}
	}
}
