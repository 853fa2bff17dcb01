package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/driftdb/driftdb-go/objstore"
)

// notRun are commands of the documents that no test runs as they are, and why not. All
// others are on pages that tests play, or in TestRecipes. What the commands here do, the
// scripts in testdata and the tests of the commands try with other stores.
var notRun = map[string]string{
	"follow --store s3://bucket":                "needs a bucket, and runs until it is interrupted",
	"inspect --store s3://my-backups":           "needs a bucket, and runs until it is interrupted",
	"inspect --store file:///srv/backups":       "runs until it is interrupted",
	"log --db app.sqlite":                       "runs until it is interrupted",
	"log --store s3://bucket":                   "needs a bucket, and runs until it is interrupted",
	"verify --store s3://my-backups":            "needs a bucket",
	"import --store s3://my-bucket/trial":       "needs an account with a provider",
	"verify --store s3://my-bucket/trial":       "needs an account with a provider",
	"delete --store s3://my-bucket/trial":       "needs an account with a provider",
	"undo app.sqlite --name app --tx 4711":      "its transaction is an example",
	"backup app.sqlite --store s3://my-backups": "needs a bucket",
	"migrate-js --from s3://my-app-backups":     "needs a bucket",
	"import --db app.sqlite --name app --store": "needs a file of the reader's",
}

// played are the pages whose blocks other tests run.
var played = []string{"OPERATIONS.md", "TIME-MACHINE.md", "TUTORIAL.md", "recipes.md"}

var commandLine = regexp.MustCompile(`(?m)^(?:    |\$ |ExecStart=/usr/local/bin/| *- run: )?(driftdb [a-z].*)$`)

// TestCommandsInDocs: each command line in the documents has a command and flags that exist
// and go together, and is run by a test or has a reason why not.
func TestCommandsInDocs(t *testing.T) {
	needs(t, "sh")
	pages, err := filepath.Glob("../../docs/*.md")
	check(t, err)
	found, reasons := 0, map[string]bool{}
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		check(t, err)
		for _, m := range commandLine.FindAllStringSubmatch(strings.ReplaceAll(string(text), "\r\n", "\n"), -1) {
			found++
			args := words(t, m[1])
			if err := parses(args); err != nil {
				t.Errorf("%s: %s: %v", page, m[1], err)
			}
			ran := false
			for _, name := range played {
				ran = ran || filepath.Base(page) == name
			}
			for start := range notRun {
				if strings.HasPrefix(strings.Join(args, " "), start) {
					ran, reasons[start] = true, true
				}
			}
			if !ran {
				t.Errorf("%s: no test runs %s: add one, or say in notRun why not", page, m[1])
			}
		}
	}
	if found < 25 {
		t.Errorf("%d commands were found", found)
	}
	for start := range notRun {
		if !reasons[start] {
			t.Errorf("no document has driftdb %s", start)
		}
	}
}

// words are the arguments that a shell would give to the first command of a line.
func words(t *testing.T, line string) []string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "words")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `driftdb() { printf '%s\0' "$@" > words; }; shop='--store file:///shop --name shop'; NOTES_STORE=file:///notes; `+line+"\ntrue") // whatever a filter makes of no output
	cmd.Dir = filepath.Dir(out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, text)
	}
	text, err := os.ReadFile(out)
	check(t, err)
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

// parses checks a command line as far as that goes without running it.
func parses(args []string) error {
	root := (&app{stdout: terminal.New(io.Discard)}).root()
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if c == root {
		return errors.New("no such command")
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	return errors.Join(c.ValidateArgs(c.Flags().Args()), c.ValidateRequiredFlags(), c.ValidateFlagGroups())
}

// TestRecipes runs what docs/recipes.md says about two machines that wrote offline, with a
// folder in place of its bucket.
func TestRecipes(t *testing.T) {
	p := newPage(t, "recipes.md")
	p.mkdir("store")
	store, err := objstore.Dir(filepath.Join(p.dir, "store"))
	check(t, err)
	write := func(file string, online bool, statements ...string) {
		t.Helper()
		cfg := driftdb.Config{Name: "notes", Path: filepath.Join(p.dir, file), AutoRestore: true, Store: store}
		if !online {
			cfg.Store, cfg.AutoRestore = nil, false
		}
		db, err := driftdb.Open(t.Context(), cfg)
		check(t, err)
		for _, s := range statements {
			_, err := db.Exec(t.Context(), s)
			check(t, err)
		}
		check(t, db.Shutdown(context.Background()))
	}
	write("notes.sqlite", true, "CREATE TABLE notes(id TEXT PRIMARY KEY, title TEXT)", "CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT)", "INSERT INTO notes VALUES('n1', 'Shopping')")
	write("desktop.sqlite", true)
	write("notes.sqlite", false, "UPDATE notes SET title = 'Shopping list'")
	write("desktop.sqlite", true, "UPDATE notes SET title = 'Shopping, Saturday'")

	p.text = strings.ReplaceAll(p.text, "s3://my-backups", folderURL(p.dir)+"/store")
	var commands []string
	for _, m := range commandLine.FindAllStringSubmatch(p.text, -1) {
		if strings.Contains(m[1], "notes.sqlite") {
			commands = append(commands, m[1])
		}
	}
	if len(commands) != 5 {
		t.Fatalf("the page has the commands %q", commands)
	}
	out, err := p.run(commands[0])
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != exitConflict || !strings.Contains(out, `ours   id="n1" title="Shopping list"`) {
		t.Errorf("$ %s (%v)\n%s", commands[0], err, out)
	}
	for _, command := range commands[1:] {
		if out, err := p.run(command); err != nil {
			t.Errorf("$ %s (%v)\n%s", command, err, out)
		}
	}
	title, err := query(filepath.Join(p.dir, "notes.sqlite"), "SELECT title FROM notes")
	check(t, err)
	if title != "\"Shopping list\"\n" {
		t.Errorf("the note is %s", title)
	}
}
