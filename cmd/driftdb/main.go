// Command driftdb imports, restores and maintains DriftDB databases.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(program(os.Stdout, os.Stderr)) }

// program runs the command line until it is done or interrupted, and returns its exit
// code.
func program(stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	return run(ctx, os.Args[1:], os.Stdin, stdout, stderr)
}
