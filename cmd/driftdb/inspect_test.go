package main

import (
	"bufio"
	"html"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestInspect: the inspector serves what the store has until it is interrupted, and every
// command that a page shows is one that a shell can run.
func TestInspect(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send signals there, and has another shell")
	}
	dir := t.TempDir()
	store := filepath.Join(dir, "it's a store")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	url := strings.ReplaceAll(folderURL(store), " ", "%20")
	load := exec.CommandContext(t.Context(), "driftdb", "import", "--db", filepath.Join(dir, "a.db"), "--name", "app", "--store", url, "--table", "it's $(odd)", "-")
	load.Stdin = strings.NewReader("a,b\n1,2\n3,4\n")
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "driftdb", "inspect", "--store", url, "--listen", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address = strings.TrimSpace(address)
	ran := map[string]bool{}
	for _, path := range []string{"", "b/app/", "b/app/timeline", "b/app/log", "b/app/log?table=it%27s+$(odd)&key=1", "b/app/tx/2", "b/app/row?table=it%27s+$(odd)&key=1", "b/app/tables?at=2",
		"b/app/table?at=2&table=it%27s+$(odd)", "b/app/diff?from=1", "b/app/retention", "b/app/cost"} {
		for _, command := range commandsOn(t, address+path) {
			if !ran[command] {
				runShown(t, command, dir)
			}
			ran[command] = true
		}
	}
	if len(ran) < 20 {
		t.Errorf("%d commands", len(ran))
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted: %v", err)
	}
}

// commandsOn are the commands that a page shows.
func commandsOn(t *testing.T, address string) (commands []string) {
	t.Helper()
	for {
		res, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %v\n%s", address, res.Status, err, page)
		}
		if res.Header.Get("Refresh") != "" {
			continue // a state is being restored
		}
		for _, m := range regexp.MustCompile(`(?s)<code data-copy>(.*?)</code>`).FindAllStringSubmatch(string(page), -1) {
			commands = append(commands, html.UnescapeString(m[1]))
		}
		if len(commands) == 0 {
			t.Errorf("%s shows no command", address)
		}
		return commands
	}
}

// runShown runs a command with something in the place of what a person fills in.
func runShown(t *testing.T, command, dir string) {
	t.Helper()
	if strings.Contains(command, "--follow") || strings.Contains(command, "driftdb fork") {
		return
	}
	out := filepath.Join(t.TempDir(), "out.db")
	if strings.Contains(command, "undo FILE") {
		out = filepath.Join(dir, "a.db")
	}
	for from, to := range map[string]string{"FILE": out, "POINT": "2", "2h ago": "2", "SELECT …": "SELECT 1", "--tx N": "--tx 2"} {
		command = strings.ReplaceAll(command, from, to)
	}
	sh := exec.CommandContext(t.Context(), "bash", "-c", command)
	if got, err := sh.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", command, err, got)
	}
}
