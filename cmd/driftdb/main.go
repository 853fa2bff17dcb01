// Command driftdb imports, restores and maintains DriftDB databases.
package main

import (
	"context"
	"io"
	"os"
)

func main() { os.Exit(program(os.Stdout, os.Stderr)) }

// program runs the command line until it is done or interrupted, and returns its exit
// code.
func program(stdout, stderr io.Writer) int {
	return run(untilInterrupted(context.Background()), os.Args[1:], os.Stdin, stdout, stderr)
}
