package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"
)

// commandGrace is how long a user's command may take to end after it was told to.
const commandGrace = 5 * time.Second

// userCommand is a user's command line with its own environment. It prints where this
// program does, by itself. When ctx ends, it is interrupted, and soon killed.
func userCommand(ctx context.Context, line string, env ...string) *exec.Cmd {
	shell := []string{"/bin/sh", "-c", line}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/C", line}
	}
	c := exec.CommandContext(ctx, shell[0], shell[1:]...)
	c.Env = append(os.Environ(), env...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.Cancel = func() error {
		if runtime.GOOS == "windows" { // a process cannot send another one signals there
			return c.Process.Kill()
		}
		return c.Process.Signal(os.Interrupt)
	}
	c.WaitDelay = commandGrace
	return c
}

// commandFor returns a function that runs a user's command with a transaction as its
// standard input, and succeeds if the command does.
func (a *app) commandFor(line string) func(context.Context, *parcel) error {
	return func(ctx context.Context, p *parcel) error {
		c := userCommand(ctx, line, "DRIFTDB_DATABASE="+p.Database, "DRIFTDB_TX="+strconv.FormatInt(p.Tx, 10),
			"DRIFTDB_SEQUENCE="+strconv.FormatInt(p.Last, 10), "DRIFTDB_ATTEMPT="+strconv.Itoa(p.attempt))
		c.Stdin = bytes.NewReader(p.body)
		return c.Run()
	}
}
