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

// commandGrace is how long a command may take to end after it was told to.
const commandGrace = 5 * time.Second

// commandFor returns a function that runs a shell command with a transaction as its
// standard input, and succeeds if the command does.
func (a *app) commandFor(command string) func(context.Context, *parcel) error {
	shell := []string{"/bin/sh", "-c", command}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/C", command}
	}
	return func(ctx context.Context, p *parcel) error {
		c := exec.CommandContext(ctx, shell[0], shell[1:]...)
		c.Env = append(os.Environ(), "DRIFTDB_DATABASE="+p.Database, "DRIFTDB_TX="+strconv.FormatInt(p.Tx, 10),
			"DRIFTDB_SEQUENCE="+strconv.FormatInt(p.Last, 10), "DRIFTDB_ATTEMPT="+strconv.Itoa(p.attempt))
		c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(p.body), os.Stdout, os.Stderr
		c.Cancel = func() error {
			if runtime.GOOS == "windows" { // a process cannot send another one signals there
				return c.Process.Kill()
			}
			return c.Process.Signal(os.Interrupt)
		}
		c.WaitDelay = commandGrace
		return c.Run()
	}
}
