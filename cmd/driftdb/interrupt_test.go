package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestInterrupt interrupts an import that waits for more input: whole
// transactions stay, and it says how many rows that are.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send signals there")
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
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
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitFailed {
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
