package systemtest

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// patience is how long tests wait for what must happen, on a machine that is busy.
const patience = 2 * time.Minute

// Within fails the test if fn does not return soon.
func Within(t testing.TB, what string, fn func()) {
	t.Helper()
	done := make(chan bool)
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s hangs:\n%s", what, stacks[:runtime.Stack(stacks, true)])
	}
}

// Eventually waits for something that the background does.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// InGoroutine calls fn beside the test, and returns where its error comes out.
func InGoroutine(fn func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	return done
}

// Beside says whether it is called by the look at the bucket that a database with
// ManualSync takes beside Open: no step waits for that.
func Beside() bool { return bytes.Contains(debug.Stack(), []byte("(*Syncer).Glance")) }
