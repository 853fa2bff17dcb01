// Package worldtest has tests of the database file among other programs, links,
// mounts and disks. Programs that use DriftDB are processes of their own here: they
// can be killed.
package worldtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore"
)

func TestMain(m *testing.M) {
	subprocess.Main()
	os.Exit(m.Run())
}

// obeys is a program that obeys: see obey.
var obeys = subprocess.Register("obeys", func(testing.TB, []string) { obey(os.Stdin, os.Stdout) })

// restores is a program that restores over a file, or detaches it if it has nothing to
// restore from. All of its work is done by one thread, so that its system calls can be
// counted.
var restores = subprocess.Register("restores", func(t testing.TB, args []string) {
	runtime.LockOSThread()
	path, from := args[0], args[1]
	var err error
	if from == "" {
		err = driftdb.Detach(path)
	} else {
		var store objstore.Store
		if store, err = objstore.Dir(from); err == nil {
			_, err = driftdb.Restore(context.Background(), driftdb.RestoreConfig{Name: "app", Path: path, Store: store, Overwrite: true})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
})

// child is a program that has at most one database, or a follower.
type child struct {
	mu       sync.Mutex // of out
	out      io.Writer
	db       *driftdb.DB
	follower *driftdb.Follower
	holds    holds
}

// obey runs commands, each in a goroutine of its own. A line in is an id, a command
// and its arguments; a line out is the id and the answer, or "event" and an event.
func obey(in io.Reader, out io.Writer) {
	c := &child{out: out}
	c.holds.reached = func(what string) { c.say("held " + what) }
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		go func() {
			answer := c.run(f[1], f[2:])
			c.say(f[0] + "\t" + answer)
		}()
	}
}

func (c *child) say(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintln(c.out, strings.ReplaceAll(line, "\n", " "))
}

func (c *child) tell(e driftdb.Event) {
	c.say(fmt.Sprintf("event\t%s %s %v", e.Level, e.Kind, e.Attrs))
}

// run does a command, and answers "ok …" or "error: …".
func (c *child) run(command string, args []string) string {
	ctx := context.Background()
	var err error
	var more string
	switch command {
	case "hold": // requests of this kind, from now on
		c.holds.set(args[0])
	case "release":
		c.holds.set("")
	case "open": // path, store, options
		c.db, err = driftdb.Open(ctx, c.config(args))
	case "exec":
		_, err = c.db.Exec(ctx, args[0])
	case "insert": // rows from a number on
		var n int
		n, err = c.insert(ctx, args[0], args[1])
		more = strconv.Itoa(n)
	case "flush":
		err = c.db.Flush(ctx)
	case "snapshot":
		_, err = c.db.Snapshot(ctx)
	case "lasterror":
		if last := c.db.Metrics().LastError; last != nil {
			more = last.Error()
		}
	case "count":
		var n []int64
		if n, err = driftdb.Select[int64](ctx, c.db, "SELECT count(*) FROM t"); err == nil {
			more = fmt.Sprint(n[0])
		}
	case "check":
		err = c.db.IntegrityCheck(ctx)
	case "close":
		if c.db != nil {
			err = c.db.Close()
		}
	case "sequence":
		more = fmt.Sprint(c.db.Sequence())
	default:
		more, err = c.follow(ctx, command, args)
	}
	if err != nil {
		return "error: " + err.Error()
	}
	return "ok " + more
}

func (c *child) config(args []string) driftdb.Config {
	cfg := driftdb.Config{
		Name: "app", Path: args[0], SyncInterval: 50 * time.Millisecond,
		Retry:   driftdb.RetryPolicy{MaxRetries: -1},
		OnEvent: c.tell,
	}
	if args[1] != "" {
		store, err := objstore.Dir(args[1])
		if err != nil {
			panic(err)
		}
		cfg.Store = holding{store, &c.holds}
	}
	for _, option := range args[2:] {
		switch option {
		case "auto":
			cfg.AutoRestore = true
		case "manual":
			cfg.ManualSync = true
		}
	}
	return cfg
}

// insert inserts count rows with the ids from first on, each in a commit of its
// own, until one fails, and returns how many it acknowledged.
func (c *child) insert(ctx context.Context, first, count string) (n int, err error) {
	from, err := strconv.Atoi(first)
	if err != nil {
		return 0, err
	}
	to, err := strconv.Atoi(count)
	if err != nil {
		return 0, err
	}
	for ; n < to; n++ {
		if _, err := c.db.Exec(ctx, "INSERT INTO t(id, v) VALUES(?, 'row ' || ?)", from+n, from+n); err != nil {
			c.say(fmt.Sprintf("event\trefused at %d: %v", from+n, err))
			return n, nil
		}
		if to > 100 { // it writes on until something happens
			time.Sleep(time.Millisecond)
		}
	}
	return n, nil
}

// holds makes requests of a store wait.
type holds struct {
	mu      sync.Mutex
	kind    string // "put snapshots", "get logs", "get", …: a method and a part of the key; "" is none
	free    chan struct{}
	reached func(kind string)
}

// set makes those of this kind wait until the next set.
func (h *holds) set(kind string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.free != nil {
		close(h.free)
	}
	h.kind, h.free = kind, nil
	if kind != "" {
		h.free = make(chan struct{})
	}
}

func (h *holds) wait(ctx context.Context, method, key string) {
	h.mu.Lock()
	want, part, _ := strings.Cut(h.kind, " ")
	free := h.free
	h.mu.Unlock()
	if free == nil || want != method || !strings.Contains(key, part) {
		return
	}
	h.reached(method)
	select {
	case <-free:
	case <-ctx.Done():
	}
}

type holding struct {
	objstore.Store
	holds *holds
}

func (s holding) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	s.holds.wait(ctx, "put", key)
	return s.Store.Put(ctx, key, body, opts)
}

func (s holding) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	s.holds.wait(ctx, "get", key)
	return s.Store.Get(ctx, key, opts)
}
