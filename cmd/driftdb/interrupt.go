package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// interrupted is the cause of a context that a signal has ended.
type interrupted struct{ os.Signal }

func (i interrupted) Error() string { return i.String() + " signal received" }

// exitSignal is added to the number of the signal that ended the program, as shells do.
const exitSignal = 128

// untilInterrupted returns a context that ends with the first signal that asks the program to
// end. The second one kills.
func untilInterrupted(parent context.Context) context.Context {
	ctx, end := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the process
		sig := <-signals
		signal.Stop(signals)
		end(interrupted{sig})
	}()
	return ctx
}

// wasInterrupted returns the exit code for an error that came of a signal.
func wasInterrupted(ctx context.Context, err error) (code int, was bool) {
	i, ok := errors.AsType[interrupted](context.Cause(ctx))
	if !ok || !errors.Is(err, context.Canceled) && !errors.Is(err, i) {
		return 0, false
	}
	if sig, ok := i.Signal.(syscall.Signal); ok {
		return exitSignal + int(sig), true
	}
	return exitFailed, true
}

// leaves is what an interrupted command leaves, and how to go on.
var leaves = map[string]string{
	"backup":     "what is stored stays in the store, and the file has all of its data: the same command goes on",
	"delete":     "nothing of the backup can be restored once the deletion has begun; the same command deletes the rest",
	"diff":       "nothing was changed",
	"doctor":     "nothing was changed, and what it stored for its probe is deleted",
	"fork":       "if driftdb status does not show the fork, the same command makes it",
	"gc":         "what is deleted is not needed; the same command goes on",
	"history":    "nothing was changed",
	"log":        "nothing was changed",
	"migrate-js": "there is no new file, and nothing was changed; run the same command again",
	"promote":    "the file may be the writer's already; the same command goes on",
	"query":      "nothing was changed, and the temporary copy is deleted",
	"rekey":      "both keys together can read the backup; run it again with the same keys to continue",
	"repair":     "if driftdb verify does not find the backup whole, run the same command again",
	"resolve":    "the file is either as it was or resolved; the same command goes on",
	"restore":    "the file is as it was before; run the same command again",
	"shell":      "nothing was changed, and the temporary copy is deleted",
	"snapshot":   "the backup is whole without this snapshot; the same command takes another one",
	"status":     "nothing was changed",
	"undo":       "if driftdb log shows the undo, it is done; else the same command does it",
	"sync":       "what is sent stays in the store; the same command sends the rest",
	"verify":     "nothing was changed, and the temporary copy is deleted",
}
