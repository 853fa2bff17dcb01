package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"
)

// TestMain lets the test binary be the program: scripts, and exec.Command in
// other tests, run "driftdb". It fails there if it prints a secret.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"driftdb": watched})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error { return setUp(e, nil) },
		Cmds:  scriptCommands,
	})
}

// setUp gives a script the folder store that STORE names, and the excerpt of
// real data. The work folder's name would need escapes in a URL only if it
// had a space or a percent sign.
func setUp(e *testscript.Env, more map[string]string) error {
	data, err := os.ReadFile(filepath.Join("testdata", "packages.csv.gz"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(e.WorkDir, "packages.csv.gz"), data, 0o600); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(e.WorkDir, "store"), 0o700); err != nil {
		return err
	}
	setCache(e)
	e.Setenv("FOLDER", folderURL(e.WorkDir))
	e.Setenv("STORE", folderURL(e.WorkDir)+"/store")
	for name, value := range more {
		e.Setenv(name, value)
	}
	compareAtEnd(e)
	return nil
}

// setCache makes CACHE the user's cache folder, wherever the system has that.
func setCache(e *testscript.Env) {
	cache := filepath.Join(e.WorkDir, "Library", "Caches") // as macOS has it in HOME
	for name, value := range map[string]string{"HOME": e.WorkDir, "XDG_CACHE_HOME": cache, "LocalAppData": cache, "CACHE": cache} {
		e.Setenv(name, value)
	}
}

// folderURL is a file URL, on Windows too.
func folderURL(path string) string {
	return "file:///" + strings.TrimPrefix(filepath.ToSlash(path), "/")
}

var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	// exits N driftdb ARG... runs a command and checks its exit code.
	"exits": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 2 {
			ts.Fatalf("usage: exits N command arg...")
		}
		want, err := strconv.Atoi(args[0])
		ts.Check(err)
		got := 0
		if exit, ok := errors.AsType[*exec.ExitError](ts.Exec(args[1], args[2:]...)); ok {
			got = exit.ExitCode()
		}
		if got != want {
			ts.Fatalf("exit code %d, want %d", got, want)
		}
	},
	// same A B compares two databases.
	"same": func(ts *testscript.TestScript, neg bool, args []string) {
		if len(args) != 2 {
			ts.Fatalf("usage: same FILE FILE")
		}
		a, err := dbtest.Dump(ts.MkAbs(args[0]))
		ts.Check(err)
		b, err := dbtest.Dump(ts.MkAbs(args[1]))
		ts.Check(err)
		if (a == b) == neg {
			ts.Fatalf("same is %v:\n%s", a == b, dbtest.Diff(a, b))
		}
	},
	// query FILE SQL prints rows, their values quoted.
	"query": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: query FILE SQL")
		}
		lines, err := query(ts.MkAbs(args[0]), args[1])
		ts.Check(err)
		fmt.Fprint(ts.Stdout(), lines)
	},
	// now NAME sets a variable to the time, and lets it pass.
	"now": func(ts *testscript.TestScript, neg bool, args []string) {
		at := time.Now().UTC()
		ts.Setenv(args[0], at.Format(time.RFC3339Nano))
		for time.Since(at) < 2*time.Millisecond { // times are kept to the millisecond
		}
	},
	// takeover NAME FILE makes FILE the database's new writer, on another node.
	"takeover": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: takeover NAME FILE")
		}
		takeOver(ts, args[0], args[1])
	},
	// branch NAME FILE OTHER SQL makes what FILE executes a branch: OTHER takes
	// over before.
	"branch": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 4 {
			ts.Fatalf("usage: branch NAME FILE OTHER SQL")
		}
		makeBranch(ts, args[0], args[1], args[2], args[3])
	},
	// foreign FILE SQL executes a statement without DriftDB.
	"foreign": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: foreign FILE SQL")
		}
		_, err := query(ts.MkAbs(args[0]), args[1])
		ts.Check(err)
	},
	// offline NAME FILE SQL executes a statement on the database NAME in FILE, which does
	// not reach the store. online NAME FILE sends what FILE has.
	"offline": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 3 {
			ts.Fatalf("usage: offline NAME FILE SQL")
		}
		writeOffline(ts, args[0], args[1], args[2])
	},
	"online": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: online NAME FILE")
		}
		goOnline(ts, args[0], args[1])
	},
	// days N NAME lets days pass for the store and the database NAME in it.
	"days": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: days N NAME")
		}
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		passDays(ts, args[1], n)
	},
	// capture NAME REGEXP sets a variable to what the group matches in the last
	// standard output.
	"capture": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: capture NAME REGEXP")
		}
		found := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
		if len(found) != 2 {
			ts.Fatalf("%s matches %q", args[1], found)
		}
		ts.Setenv(args[0], found[1])
	},
	// files GLOB prints how many files match.
	"files": func(ts *testscript.TestScript, neg bool, args []string) {
		found, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		fmt.Fprintln(ts.Stdout(), len(found))
	},
	// stray GLOB NAME puts an object that is none of ours into a folder.
	"stray": func(ts *testscript.TestScript, neg bool, args []string) {
		folders, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		if len(folders) != 1 {
			ts.Fatalf("%s matches %d folders", args[0], len(folders))
		}
		ts.Check(os.WriteFile(filepath.Join(folders[0], args[1]), []byte("junk"), 0o600))
	},
	// damage GLOB changes a byte in the middle of a file.
	"damage": func(ts *testscript.TestScript, neg bool, args []string) {
		files, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		if len(files) != 1 {
			ts.Fatalf("%s matches %d files", args[0], len(files))
		}
		if strings.HasPrefix(args[0], "store") {
			*ts.Value(damaged{}).(*bool) = true
		}
		content, err := os.ReadFile(files[0])
		ts.Check(err)
		content[len(content)/2] ^= 0x40
		ts.Check(os.WriteFile(files[0], content, 0o600))
	},
}

// query runs a query on a database that nobody else has open.
func query(path, text string) (string, error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return "", err
	}
	defer db.Close()
	rows, err := db.Query(text)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return "", err
		}
		for i, v := range values {
			if i > 0 {
				b.WriteByte('|')
			}
			b.WriteString(literal(v))
		}
		b.WriteByte('\n')
	}
	return b.String(), rows.Err()
}
