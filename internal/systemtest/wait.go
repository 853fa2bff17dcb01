package systemtest

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// patience is how long tests on a busy machine wait for something that must happen.
const patience = 2 * time.Minute

// Within fails the test if fn does not return within patience.
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

// Eventually waits until background work makes ok true.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// InGoroutine calls fn in a goroutine, and returns the channel that receives its error.
func InGoroutine(fn func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	return done
}

// Beside reports whether its caller runs in the check of the bucket that Open makes in the
// background with ManualSync. No step of a test waits for that.
func Beside() bool { return bytes.Contains(debug.Stack(), []byte("(*Syncer).Glance")) }
