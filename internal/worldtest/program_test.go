package worldtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/mounttest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// patience is how long a program may take to answer on a machine that is busy.
const patience = 2 * time.Minute

// program is a child process, seen from its parent.
type program struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser

	mu      sync.Mutex
	next    int
	waiting map[string]chan string
	events  []string
	held    chan struct{} // a request of the store is held
	ended   chan struct{}
}

// start starts a program in a folder; by, if there is any, are the words that are
// put before its command.
func start(t testing.TB, dir string, by ...string) *program {
	t.Helper()
	words := append(slices.Clone(by), os.Args[0])
	p := &program{t: t, cmd: exec.Command(words[0], words[1:]...), waiting: map[string]chan string{}, held: make(chan struct{}, 1), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = dir, obeys.Environ(), os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.listen(out)
	t.Cleanup(p.kill)
	return p
}

func (p *program) listen(out io.Reader) {
	defer close(p.ended)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		id, text, _ := strings.Cut(lines.Text(), "\t")
		p.mu.Lock()
		switch {
		case id == "event":
			p.events = append(p.events, text)
		case strings.HasPrefix(id, "held"):
			select {
			case p.held <- struct{}{}:
			default:
			}
		default:
			p.waiting[id] <- text
		}
		p.mu.Unlock()
	}
}

// begin gives a command, and returns where its answer will come.
func (p *program) begin(command string, args ...string) <-chan string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	id := fmt.Sprint(p.next)
	answer := make(chan string, 1)
	p.waiting[id] = answer
	// If it is dead, nobody will answer.
	_, _ = fmt.Fprintln(p.in, strings.Join(append([]string{id, command}, args...), "\t"))
	return answer
}

// answer waits for the answer to a command. A program that has died says so.
func (p *program) answer(to <-chan string) string {
	p.t.Helper()
	select {
	case text := <-to:
		return text
	case <-p.ended:
		return "error: the program is dead"
	case <-time.After(patience):
		p.t.Fatalf("no answer; events: %q", p.told())
		return ""
	}
}

// do gives a command and waits for its answer.
func (p *program) do(command string, args ...string) string {
	p.t.Helper()
	return p.answer(p.begin(command, args...))
}

// must is do for what has to succeed; it returns what comes after "ok ".
func (p *program) must(command string, args ...string) string {
	p.t.Helper()
	text := p.do(command, args...)
	rest, ok := strings.CutPrefix(text, "ok")
	if !ok {
		p.t.Fatalf("%s %q: %s", command, args, text)
	}
	return strings.TrimSpace(rest)
}

// wantError fails unless the command does, with an error that has want in it.
func (p *program) wantError(want, command string, args ...string) {
	p.t.Helper()
	if text := p.do(command, args...); !strings.HasPrefix(text, "error: ") || !strings.Contains(text, want) {
		p.t.Errorf("%s %q: %s; want an error with %q", command, args, text, want)
	}
}

// told are the events so far.
func (p *program) told() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events)
}

// wasTold says whether an event has this in it.
func (p *program) wasTold(what string) bool {
	return slices.ContainsFunc(p.told(), func(e string) bool { return strings.Contains(e, what) })
}

// kill kills the program and waits for its end.
func (p *program) kill() {
	_ = p.cmd.Process.Kill() // it may be dead
	<-p.ended
	_ = p.cmd.Wait()
}

// end closes the program's database, and ends it.
func (p *program) end() {
	p.t.Helper()
	p.must("close")
	p.in.Close()
	<-p.ended
}

// The files of a test.

// folder makes folders in a new one, and returns that.
func folder(t testing.TB, names ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	systemtest.Check(t, err)
	for _, name := range names {
		systemtest.Check(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	return dir
}

// backup makes a backup of rows 1 to n of table t in a store, which is a folder.
func backup(t testing.TB, store string, n int) {
	t.Helper()
	systemtest.Check(t, os.MkdirAll(store, 0o755))
	p := start(t, folder(t))
	p.must("open", "seed.sqlite", store)
	p.must("exec", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	p.must("insert", "1", fmt.Sprint(n))
	p.must("flush")
	p.end()
}

// script runs a script on the database at path as a program without DriftDB does.
func script(t testing.TB, path, script string) {
	t.Helper()
	c := plain(t, path)
	systemtest.Check(t, c.Exec(script))
	systemtest.Check(t, c.Close())
}

// plain opens a database as another program does.
func plain(t testing.TB, path string) *sqlite.Conn {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{KeepJournal: true, BusyTimeout: 10 * time.Second})
	systemtest.Check(t, err)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// ask returns the only value that a query of the database at path yields.
func ask(t testing.TB, path, query string) string {
	t.Helper()
	c := plain(t, path)
	text, err := c.Text(query)
	systemtest.Check(t, err)
	systemtest.Check(t, c.Close())
	return text
}

// copyFile copies a file, or what there is of it.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	systemtest.Check(t, err)
	systemtest.Check(t, os.WriteFile(to, data, 0o644))
}

// restored restores the newest state of the backup in the store, and returns the file.
func restored(t testing.TB, store string) string {
	t.Helper()
	s, err := objstore.Dir(store)
	systemtest.Check(t, err)
	path := filepath.Join(folder(t), "restored.sqlite")
	_, err = driftdb.Restore(context.Background(), driftdb.RestoreConfig{Name: "app", Path: path, Store: s})
	systemtest.Check(t, err)
	return path
}

// left are the files in a folder whose names have this in them.
func left(t testing.TB, dir, what string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+what+"*"))
	systemtest.Check(t, err)
	return names
}

// bind mounts a file in a second place until the test ends.
func bind(t testing.TB, from, to string) {
	t.Helper()
	mounttest.Bind(t, from, to)
	t.Cleanup(func() { mounttest.Detach(t, to) })
}
