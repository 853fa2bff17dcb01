package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// hook runs a user's command when there is news: one at a time, and once more for all that
// comes while it runs.
type hook struct {
	app     *app
	command string
	stop    context.CancelFunc
	news    chan news // capacity 1: the newest
	done    sync.WaitGroup
}

type news struct {
	sequence int64
	file     string
}

// hookGrace is how long a command may take to end after it was told to.
const hookGrace = 5 * time.Second

// newHook starts the goroutine that runs the command; end ends it.
func (a *app) newHook(command string) *hook {
	ctx, stop := context.WithCancel(context.Background())
	h := &hook{app: a, command: command, stop: stop, news: make(chan news, 1)}
	h.done.Go(func() {
		for {
			select {
			case n := <-h.news:
				h.exec(ctx, n)
			case <-ctx.Done():
				return
			}
		}
	})
	return h
}

// run makes the command run for a change, and does not wait for it. Only one goroutine may
// call it.
func (h *hook) run(sequence int64, file string) {
	select {
	case <-h.news: // older
	default:
	}
	h.news <- news{sequence, file}
}

// end ends the command if it runs, and waits for it.
func (h *hook) end() {
	h.stop()
	h.done.Wait()
}

func (h *hook) exec(ctx context.Context, n news) {
	shell := []string{"/bin/sh", "-c", h.command}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/C", h.command}
	}
	c := exec.CommandContext(ctx, shell[0], shell[1:]...)
	c.Env = append(os.Environ(), "DRIFTDB_SEQUENCE="+strconv.FormatInt(n.sequence, 10), "DRIFTDB_FILE="+n.file)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if h.app.json { // standard output has nothing but JSON
		c.Stdout = os.Stderr
	}
	c.Cancel = func() error {
		if runtime.GOOS == "windows" { // a process cannot send another one signals there
			return c.Process.Kill()
		}
		return c.Process.Signal(os.Interrupt)
	}
	c.WaitDelay = hookGrace
	if err := c.Run(); err != nil && ctx.Err() == nil {
		h.app.stderr.Printf("warning: after change %d, --exec %s failed: %v\n", n.sequence, h.command, err)
	}
}
