//go:build unix

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/rivo/uniseg"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what the commands print into testdata/screens")

// screens are where a command is run: at a terminal of a width, or with a pipe.
var screens = []struct {
	name    string
	columns uint16 // 0: a pipe
	colours bool
}{
	{"80 columns", 80, false}, {"80 columns, colours", 80, true}, {"120 columns", 120, false}, {"120 columns, colours", 120, true}, {"pipe", 0, true},
}

// TestScreens compares what commands print at real terminals and on a pipe with the files
// in testdata/screens, whose comments are the commands. -update writes the files.
func TestScreens(t *testing.T) {
	dir := t.TempDir()
	screenStore(t, dir)
	for _, name := range []string{"status", "tables", "results", "errors", "help"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", "screens", name+".txtar")
			archive, err := txtar.ParseFile(file)
			check(t, err)
			want := map[string]string{}
			for _, f := range archive.Files {
				want[f.Name] = string(f.Data)
			}
			archive.Files = nil
			for i, screen := range screens {
				narrowOrPiped := i%4 == 0
				if !narrowOrPiped && name != "status" && name != "tables" {
					continue // messages do not depend on the width, and have no colours
				}
				if !narrowOrPiped && testing.Short() && !*update {
					continue
				}
				got := ""
				for line := range strings.Lines(string(archive.Comment)) {
					command, is := strings.CutPrefix(strings.TrimSpace(line), "$ ")
					if !is {
						continue
					}
					text := onScreen(t, dir, screen.columns, screen.colours, command)
					fits(t, screen.name, command, text, int(screen.columns))
					got += "$ " + command + "\n" + text
				}
				archive.Files = append(archive.Files, txtar.File{Name: screen.name, Data: []byte(got)})
				if !*update && got != want[screen.name] {
					t.Errorf("%s: it prints\n%s\nand %s has\n%s\nUse -update if that is meant.", screen.name, got, file, want[screen.name])
				}
			}
			if *update {
				check(t, os.WriteFile(file, txtar.Format(archive), 0o600))
			}
		})
	}
}

// onScreen runs a command line, and returns what it shows, without what differs each time.
func onScreen(t *testing.T, dir string, columns uint16, colours bool, command string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DRIFTDB_STORE="+folderURL(dir)+"/store", "XDG_CACHE_HOME="+filepath.Join(dir, "cache"), "HOME="+dir, "TZ=UTC", "TERM=xterm", "NO_COLOR=")
	if !colours {
		cmd.Env = append(cmd.Env, "NO_COLOR=1")
	}
	var out []byte
	var err error
	if columns == 0 {
		out, err = cmd.CombinedOutput()
	} else {
		out, err = atTerminal(cmd, columns)
	}
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Fatal(err)
	}
	text := steady(seen(string(out)))
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		text += fmt.Sprintf("[exit code %d]\n", code)
	}
	return text
}

// atTerminal runs a command at a terminal of its own.
func atTerminal(cmd *exec.Cmd, columns uint16) ([]byte, error) {
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: columns})
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(tty)
	if _, ended := errors.AsType[*os.PathError](err); err != nil && !ended { // EIO: nobody writes any more
		return nil, err
	}
	return out, errors.Join(cmd.Wait(), tty.Close())
}

// seen is what is left on a terminal: a bar overwrites itself, and is then cleared.
func seen(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		b.WriteString(line[strings.LastIndex(line, "\r")+1:])
	}
	return b.String()
}

var (
	unsteady = regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{8}(-[0-9a-f]{1,4}){1,3}…|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?Z)?|\b\d+(\.\d)? (bytes|KiB|MiB)\b|\b[0-9a-f]{12}\b|\bin \d+\.\d s\b|\bin \d+ requests?\b|\b\d{4,}\b`)
	digit    = regexp.MustCompile(`[0-9a-f]`)
)

// steady replaces times, sizes and random ids, whose width does not change, by zeros.
func steady(text string) string {
	return unsteady.ReplaceAllStringFunc(text, func(s string) string {
		if strings.Contains(s, " request") {
			return "in 0 requests"
		}
		if unit := strings.LastIndexByte(s, ' '); unit > 0 && !strings.Contains(s, "-") && !strings.HasPrefix(s, "in ") {
			return digit.ReplaceAllString(s[:unit], "0") + s[unit:]
		}
		if strings.HasPrefix(s, "in ") {
			return "in 0.0 s"
		}
		return digit.ReplaceAllString(s, "0")
	})
}

var (
	code    = regexp.MustCompile("\x1b\\[[0-9;]*m")
	tabular = regexp.MustCompile(`driftdb( (status|query|gc|help|diff .*--stat|.*--help)|$)`)
	message = regexp.MustCompile(`^(driftdb: |hint: |note: |usage: )`)
)

// fits fails for lines of tables and of help that a terminal would have to break. Messages
// it may break, since commands in them are to be copied; and what changes print.
func fits(t *testing.T, screen, command, text string, columns int) {
	t.Helper()
	if !tabular.MatchString(command) {
		return
	}
	for line := range strings.Lines(text) {
		plain := code.ReplaceAllString(strings.TrimSuffix(line, "\n"), "")
		if n := uniseg.StringWidth(plain); columns > 0 && n > columns && !message.MatchString(plain) {
			t.Errorf("%s: %s: a line of %d columns: %s", screen, command, n, plain)
		}
		if columns == 0 && strings.ContainsRune(line, '\x1b') {
			t.Errorf("%s: %s: colours: %q", screen, command, line)
		}
	}
}

// screenStore makes what the commands show: a store with databases, forks, a branch, one
// that cannot be read and one that has nothing yet, all three days old; an empty one; and
// files.
func screenStore(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"store", "empty"} {
		check(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	store, err := objstore.Dir(filepath.Join(dir, "store"))
	check(t, err)
	open := func(name, file string) *driftdb.DB {
		db, err := driftdb.Open(t.Context(), driftdb.Config{Name: name, Path: filepath.Join(dir, file), Store: store, ManualSync: true})
		check(t, err)
		return db
	}
	for n := range 26 {
		name := fmt.Sprintf("tenant-%02d", n+1)
		db := open(name, name+".db")
		exec1(t, db, "CREATE TABLE t(a)")
		check(t, db.Flush(t.Context()))
		check(t, db.Close())
	}
	app := open("app", "app.db")
	exec1(t, app, "CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT, note TEXT, spent REAL)")
	for n := range 12 {
		exec1(t, app, "INSERT INTO customers(name, note, spent) VALUES(?, ?, ?)", []string{"Ada", "Bob", "東京 太郎"}[n%3], strings.Repeat("a long note ", n), float64(n)*1.5)
	}
	_, err = app.Snapshot(t.Context())
	check(t, err)
	exec1(t, app, "UPDATE customers SET spent = NULL WHERE id = 3")
	exec1(t, app, "DELETE FROM customers WHERE id = 5")
	check(t, app.Flush(t.Context()))
	_, err = app.Backup().Fork(t.Context(), "app-experiment", driftdb.Point{Sequence: 5})
	check(t, err)
	check(t, app.Close())

	a := open("a-database-with-a-name-that-is-longer-than-others", "long.db")
	exec1(t, a, "CREATE TABLE t(a)")
	check(t, a.Flush(t.Context()))
	copied := filepath.Join(dir, "other.db")
	_, err = a.Backup().Restore(t.Context(), copied, driftdb.RestoreOptions{})
	check(t, err)
	check(t, os.Remove(copied))
	b, err := driftdb.Open(t.Context(), driftdb.Config{Name: "a-database-with-a-name-that-is-longer-than-others", Path: copied, Store: store, AutoRestore: true, ManualSync: true})
	check(t, err)
	exec1(t, b, "INSERT INTO t VALUES('theirs')")
	check(t, b.Flush(t.Context()))
	exec1(t, a, "INSERT INTO t VALUES('ours')")
	if err := a.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatal(err)
	}
	_ = a.Close() // it is fenced
	check(t, b.Close())

	check(t, os.MkdirAll(filepath.Join(dir, "store", "databases", "begun", "nodes"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "store", "databases", "begun", "nodes", "probe"), []byte("probe"), 0o600))
	if out := onScreen(t, dir, 0, false, "driftdb verify --name app"); !strings.Contains(out, "verified app") {
		t.Fatal(out)
	}
	age(t, dir, 3*24*time.Hour+time.Hour)
	manifest := filepath.Join(dir, "store", "databases", "tenant-07", "manifest.json")
	text, err := os.ReadFile(manifest)
	check(t, err)
	check(t, os.WriteFile(manifest, text[:len(text)/2], 0o600))
	plain, err := os.ReadFile(copied) // a database without DriftDB, made by detaching one
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "plain.sqlite"), plain, 0o600))
	check(t, driftdb.Detach(filepath.Join(dir, "plain.sqlite")))
}

func exec1(t *testing.T, db *driftdb.DB, query string, args ...any) {
	t.Helper()
	_, err := db.Exec(t.Context(), query, args...)
	check(t, err)
}

var milliseconds = regexp.MustCompile(`(:\s*)(\d{13})\b`)

// age makes what manifests say older, and when this machine verified them.
func age(t *testing.T, dir string, by time.Duration) {
	t.Helper()
	manifests, err := filepath.Glob(filepath.Join(dir, "store", "databases", "*", "manifest.json"))
	check(t, err)
	for _, file := range manifests {
		text, err := os.ReadFile(file)
		check(t, err)
		text = milliseconds.ReplaceAllFunc(text, func(field []byte) []byte {
			parts := milliseconds.FindSubmatch(field)
			ms, err := strconv.ParseInt(string(parts[2]), 10, 64)
			check(t, err)
			return strconv.AppendInt(parts[1], ms-by.Milliseconds(), 10)
		})
		check(t, os.WriteFile(file, checksum.ReplaceAll(text, nil), 0o600))
	}
	check(t, filepath.WalkDir(filepath.Join(dir, "store"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.Chtimes(path, time.Time{}, time.Now().Add(-by))
	}))
	known, err := filepath.Glob(filepath.Join(dir, "cache", "driftdb", "*.json"))
	check(t, err)
	for _, file := range known {
		text, err := os.ReadFile(file)
		check(t, err)
		at := []byte(`"verifiedAt":"` + time.Now().Add(-by).UTC().Format(time.RFC3339) + `"`)
		check(t, os.WriteFile(file, regexp.MustCompile(`"verifiedAt":"[^"]*"`).ReplaceAll(text, at), 0o600))
	}
	if len(manifests) < 28 || len(known) != 1 {
		t.Fatalf("%d manifests, %d files in the cache", len(manifests), len(known))
	}
}
