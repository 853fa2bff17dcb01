package examples_test

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// bin is the folder of the programs.
var bin string

// TestMain builds all of them.
func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	flag.Parse()
	if testing.Short() {
		return 0 // to link the programs takes seconds
	}
	dir, err := os.MkdirTemp("", "driftdb-examples-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	if out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", bin+string(filepath.Separator), "./...").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
		return 1
	}
	code := m.Run()
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return code // not all tests have run
		}
	}
	if code != 0 || runtime.GOOS == "windows" { // where some are skipped
		return code
	}
	return everyOne()
}

// ran are the programs that tests have run.
var ran sync.Map

// everyOne fails if there is an example that no test has run, or that the README does not
// list.
func everyOne() (code int) {
	readme, err := os.ReadFile("README.md")
	programs, errDir := os.ReadDir(bin)
	if err := errors.Join(err, errDir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, p := range programs {
		name := p.Name()
		if _, ok := ran.Load(name); !ok {
			fmt.Fprintf(os.Stderr, "FAIL: no test runs the example %s\n", name)
			code = 1
		}
		if !strings.Contains(string(readme), fmt.Sprintf("\n| [%s](%s/main.go) | ", name, name)) {
			fmt.Fprintf(os.Stderr, "FAIL: the example %s is not in README.md\n", name)
			code = 1
		}
	}
	return code
}

// folders are an empty folder to work in, and one for the backup.
func folders(t *testing.T) (work, store string) {
	t.Helper()
	return t.TempDir(), t.TempDir()
}

// command is a run of one of the programs in a folder.
func command(t *testing.T, work, name string, args ...string) *exec.Cmd {
	t.Helper()
	ran.Store(name, true)
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, name), args...)
	cmd.Dir = work
	return cmd
}

// prints fails unless a run ends well and prints want.
func prints(t *testing.T, cmd *exec.Cmd, want string) {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || string(out) != want || stderr.Len() > 0 {
		t.Fatalf("%s:\n%v %s\n%swant\n%s", cmd, err, &stderr, out, want)
	}
}

// fails fails unless a run fails and says want.
func fails(t *testing.T, cmd *exec.Cmd, want string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) {
		t.Fatalf("%s: %v\n%swant %s", cmd, err, out, want)
	}
}

// lose removes a database's file and what lies beside it.
func lose(t *testing.T, file string) {
	t.Helper()
	files, err := filepath.Glob(file + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", file, files, err)
	}
	for _, f := range files {
		if err := os.RemoveAll(f); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNotes(t *testing.T) {
	work, store := folders(t)
	today := time.Now().UTC().Format("2006-01-02")
	prints(t, command(t, work, "notes", "-store", store, "add", "Buy", "milk"), "")
	prints(t, command(t, work, "notes", "-store", store, "add", "Call Ann"), "")
	lose(t, filepath.Join(work, "notes.sqlite"))
	prints(t, command(t, work, "notes", "-store", store, "list"), today+" Buy milk\n"+today+" Call Ann\n")
	fails(t, command(t, work, "notes", "-store", store), "usage")
}

// TestAdopt: a file that a program without DriftDB writes, in either journal mode, is backed
// up from the outside.
func TestAdopt(t *testing.T) {
	for _, mode := range []string{"DELETE", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			work, store := folders(t)
			theirs, err := sql.Open("sqlite", filepath.Join(work, "app.sqlite"))
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			write := func(script string) {
				t.Helper()
				if _, err := theirs.Exec(script); err != nil {
					t.Fatal(err)
				}
			}
			adopt := func() *exec.Cmd {
				return command(t, work, "adopt", "-db", "app.sqlite", "-name", "app", "-store", store)
			}
			write("PRAGMA journal_mode = " + mode + "; CREATE TABLE t(v); INSERT INTO t VALUES(1), (2)")
			prints(t, adopt(), "app: 2 rows can be restored\n")
			write("INSERT INTO t VALUES(3)") // the other program has never closed the file
			prints(t, adopt(), "app: 3 rows can be restored\n")
			prints(t, adopt(), "app: 3 rows can be restored\n")
		})
	}
	work, store := folders(t)
	fails(t, command(t, work, "adopt", "-db", "app.sqlite", "-name", "app", "-store", store), "app.sqlite")
}

func TestWeb(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signal that asks a program to end")
	}
	work, store := folders(t)
	url, stop := serve(t, work, store)
	for _, name := range []string{"Ann", "Bob"} {
		if got := ask(t, http.MethodPost, url+"/visits/"+name); !strings.Contains(got, `"Name":"`+name+`"`) {
			t.Errorf("POST %s: %s", name, got)
		}
	}
	var health struct{ IsRunning bool }
	if err := json.Unmarshal([]byte(ask(t, http.MethodGet, url+"/health")), &health); err != nil || !health.IsRunning {
		t.Errorf("health: %+v, %v", health, err)
	}
	stop()
	lose(t, filepath.Join(work, "web.sqlite"))
	url, stop = serve(t, work, store)
	defer stop()
	var visits []struct{ Name string }
	if err := json.Unmarshal([]byte(ask(t, http.MethodGet, url+"/visits")), &visits); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(visits); got != "[{Bob} {Ann}]" && got != "[{Ann} {Bob}]" { // they may be of one millisecond
		t.Errorf("after the loss of the disk: %s", got)
	}
}

// serve starts the service web. stop asks it to end, and waits for that.
func serve(t *testing.T, work, store string) (url string, stop func()) {
	t.Helper()
	url, cmd, lines := start(t, command(t, work, "web", "-addr", "localhost:0", "-store", store))
	return url, func() {
		t.Helper()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(lines)
		if err := cmd.Wait(); err != nil || len(said) > 0 {
			t.Fatalf("%v: %s", err, said)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// start starts a service, and waits until it listens. lines is what it says after that.
func start(t *testing.T, cmd *exec.Cmd) (url string, _ *exec.Cmd, lines *bufio.Reader) {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines = bufio.NewReader(stderr)
	line, err := lines.ReadString('\n')
	_, addr, ok := strings.Cut(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("%q, %v", line, err)
	}
	return "http://" + addr, cmd, lines
}

func ask(t *testing.T, method, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s %v", method, url, res.Status, body, err)
	}
	return string(body)
}

func TestTenants(t *testing.T) {
	work, store := folders(t)
	run := func(payments string) *exec.Cmd {
		cmd := command(t, work, "tenants", "-store", store)
		cmd.Stdin = strings.NewReader(payments)
		return cmd
	}
	prints(t, run("acme 10\numbrella 5\nacme 7\n"), "acme 17\numbrella 5\n")
	lose(t, filepath.Join(work, "acme.sqlite"))
	prints(t, run("acme 1\ninitech 2\numbrella 3\n"), "acme 18\ninitech 2\numbrella 8\n")
	fails(t, run("../acme 1\n"), "no customer's name")
}

func TestCron(t *testing.T) {
	work, store := folders(t)
	night := func(query string) *exec.Cmd {
		return command(t, work, "cron", "-name", "notes", "-store", store, "-query", query)
	}
	fails(t, night("SELECT 1"), "no backup")
	prints(t, command(t, work, "notes", "-store", store, "add", "one"), "")
	older := t.TempDir()
	if err := os.CopyFS(older, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	prints(t, command(t, work, "notes", "-store", store, "add", "two"), "")
	out, err := night("SELECT count(*) = 2 FROM notes").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "notes: ") {
		t.Fatalf("%v: %s", err, out)
	}
	fails(t, night("SELECT count(*) = 3 FROM notes"), "not as it should be")

	store = older // somebody puts back an older state of the store
	fails(t, night("SELECT 1"), "gone back")
}

func TestRawSQL(t *testing.T) {
	work, store := folders(t)
	prints(t, command(t, work, "rawsql", "-store", store, "alice", "bob", "30"), `update accounts map[balance:130]
insert journal map[change:30 id:1 owner:bob]
update accounts map[balance:70]
insert journal map[change:-30 id:2 owner:alice]
`)
	fails(t, command(t, work, "rawsql", "-store", store, "alice", "bob", "71"), "CHECK")
	fails(t, command(t, work, "rawsql", "-store", store, "alice", "zoe", "1"), "no account of zoe")
	lose(t, filepath.Join(work, "bank.sqlite"))
	prints(t, command(t, work, "rawsql", "-store", store, "bob", "alice", "130"), `update accounts map[balance:200]
insert journal map[change:130 id:3 owner:alice]
update accounts map[balance:0]
insert journal map[change:-130 id:4 owner:bob]
`)
}

func TestFunctions(t *testing.T) {
	work, store := folders(t)
	prints(t, command(t, work, "functions", "-store", store), "example.com 3 33\nexample.org 1 28\n")
	fails(t, command(t, work, "cron", "-name", "people", "-store", store), "domain")
}
