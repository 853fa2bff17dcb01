package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestTimeMachine plays docs/TIME-MACHINE.md: each block of SQL is run by a program that has
// the database open, each command by a shell, and what it prints must be what the page says.
func TestTimeMachine(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		if os.Getenv("DRIFTDB_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skip("the page's commands need a shell: ", err)
	}
	page, err := os.ReadFile("../../docs/TIME-MACHINE.md")
	check(t, err)
	dir := t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "store"), 0o700))
	commands, variables := 0, ""
	for _, block := range regexp.MustCompile("(?ms)^```(sql|console)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		if block[1] == "sql" {
			writeShop(t, dir, block[2])
			continue
		}
		for _, part := range strings.Split("\n"+block[2], "\n$ ")[1:] {
			command, want, _ := strings.Cut(part, "\n")
			for strings.HasSuffix(command, "\\") {
				var more string
				more, want, _ = strings.Cut(want, "\n")
				command += "\n" + strings.TrimPrefix(more, "> ")
			}
			if strings.HasPrefix(command, "shop=") {
				variables = command + "\n"
				continue
			}
			commands++
			cmd := exec.CommandContext(t.Context(), "sh", "-c", variables+command+" 2>&1")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if got := plainly(string(out)); got != plainly(want) {
				t.Errorf("$ %s (%v)\n%s\nThe page has\n%s", command, err, out, want)
			}
		}
	}
	if commands != 10 {
		t.Errorf("%d commands were found; the page promises ten", commands)
	}
}

// writeShop runs statements on the database and uploads what they change.
func writeShop(t *testing.T, dir, script string) {
	t.Helper()
	store, err := objstore.Dir(filepath.Join(dir, "store"))
	check(t, err)
	db, err := driftdb.Open(t.Context(), driftdb.Config{Name: "shop", Path: filepath.Join(dir, "shop.sqlite"), Store: store, ManualSync: true})
	check(t, err)
	_, err = db.Exec(t.Context(), script)
	check(t, err)
	check(t, db.Shutdown(context.WithoutCancel(t.Context())))
}

// varies are parts of the output that are different each time.
var varies = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?|file://[^ ']*`)

// plainly is output without what varies. The page has aligned tables, as on a terminal;
// here there is none, so that they have tabs and no line below their names.
func plainly(out string) string {
	out = varies.ReplaceAllString(out, "*")
	var lines []string
	for line := range strings.Lines(out) {
		line = strings.Join(strings.Fields(line), " ")
		if strings.Trim(line, "- ") != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
