package objstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// inUseErrors are wrapped as the os package does it.
func inUseErrors() (wrapped []error) {
	for _, errno := range busyErrnos {
		wrapped = append(wrapped, &os.LinkError{Op: "renameat", Old: "a", New: "b", Err: errno})
	}
	return wrapped
}

func TestUntilFree(t *testing.T) {
	for _, busy := range inUseErrors() {
		for _, c := range []struct {
			name  string
			fails int // how often it is in use
			then  error
			tries int
		}{
			{"free at once", 0, nil, 1},
			{"free in time", 5, nil, 6},
			{"then another error", 3, fs.ErrNotExist, 4},
		} {
			t.Run(fmt.Sprint(c.name, busy), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tries := 0
					err := untilFree(t.Context(), func() error {
						if tries++; tries <= c.fails {
							return busy
						}
						return c.then
					})
					if !errors.Is(err, c.then) || tries != c.tries {
						t.Errorf("%v after %d tries, want %v after %d", err, tries, c.then, c.tries)
					}
				})
			})
		}
	}
}

func TestUntilFreeGivesUp(t *testing.T) {
	for _, busy := range inUseErrors() {
		synctest.Test(t, func(t *testing.T) {
			began, tries := time.Now(), 0
			err := untilFree(t.Context(), func() error { tries++; return busy })
			took := time.Since(began)
			if !errors.Is(err, busy) || !strings.Contains(err.Error(), "have the file open?") {
				t.Errorf("%v, want %v", err, busy)
			}
			if took < busyLimit || took > busyLimit+busyPauseMax || tries < 10 || tries > 30 {
				t.Errorf("gave up after %v and %d tries", took, tries)
			}

			ctx, cancel := context.WithTimeout(t.Context(), busyLimit/2)
			defer cancel()
			began = time.Now()
			err = untilFree(ctx, func() error { return busy })
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, busy) || took != busyLimit/2 {
				t.Errorf("%v after %v, want the context's error when it ends", err, took)
			}
		})
	}
}
