package main

import (
	"context"
	"strconv"
	"sync"
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
	c := userCommand(ctx, h.command, "DRIFTDB_SEQUENCE="+strconv.FormatInt(n.sequence, 10), "DRIFTDB_FILE="+n.file)
	if h.app.json { // standard output has nothing but JSON
		c.Stdout = c.Stderr
	}
	if err := c.Run(); err != nil && ctx.Err() == nil {
		h.app.stderr.Printf("warning: after change %d, --exec %s failed: %v\n", n.sequence, h.command, err)
	}
}
