package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

var errFlaky = errors.New("503 slow down")

func TestDelay(t *testing.T) {
	p := Default()
	for i, want := range []time.Duration{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000} {
		want *= time.Millisecond
		low, high := time.Hour, time.Duration(0)
		for range 2000 {
			d := p.Delay(i + 1)
			low, high = min(low, d), max(high, d)
		}
		if low < want/2 || high > want || low > want*6/10 || high < want*9/10 {
			t.Errorf("retry %d waits %v to %v, want %v to %v", i+1, low, high, want/2, want)
		}
	}
	for _, p := range []Policy{{}, {MaxDelay: time.Second}, {BaseDelay: -1, MaxDelay: time.Second}} {
		if d := p.Delay(3); d != 0 {
			t.Errorf("%+v waits %v, want 0", p, d)
		}
	}
	huge := Policy{BaseDelay: 1, MaxDelay: 1<<63 - 1}
	if d := huge.Delay(1000); d < huge.MaxDelay/2 {
		t.Errorf("1000 doublings wait %v", d)
	}
}

func TestDoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, calls := time.Now(), 0
		err := Do(t.Context(), Default(), func(context.Context) error {
			calls++
			return errFlaky
		})
		if !errors.Is(err, errFlaky) || calls != 6 {
			t.Errorf("%d calls, %v; want 6 calls", calls, err)
		}
		if took := time.Since(start); took < 7750*time.Millisecond || took > 15500*time.Millisecond {
			t.Errorf("took %v, want half to all of 15.5 s", took)
		}
	})
}

func TestDoSucceedsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		err := Do(t.Context(), Default(), func(context.Context) error {
			if calls++; calls < 4 {
				return errFlaky
			}
			return nil
		})
		if err != nil || calls != 4 {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}

func TestDoRetriesOnlyWhatMayPass(t *testing.T) {
	once := []error{
		fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported, objstore.ErrPrecondition,
		objstore.ErrNoBucket, objstore.ErrNoETag, objstore.ErrInvalidKey, Permanent(errFlaky),
	}
	// A timeout inside the store, while the caller's context lives, may pass.
	again := []error{errFlaky, context.DeadlineExceeded, context.Canceled}
	for want, errs := range map[int][]error{1: once, 6: again} {
		for _, e := range errs {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				err := Do(t.Context(), Default(), func(context.Context) error {
					calls++
					return fmt.Errorf("get %q: %w", "k", e)
				})
				if calls != want || err == nil {
					t.Errorf("%v: %d calls, want %d; %v", e, calls, want, err)
				}
			})
		}
	}
}

func TestZeroPolicyTriesOnce(t *testing.T) {
	err := Do(t.Context(), Policy{}, func(context.Context) error { return errFlaky })
	if err != errFlaky {
		t.Errorf("%v, want the error as it is", err)
	}
}

func TestDoEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start, calls := time.Now(), 0
		err := Do(ctx, Default(), func(context.Context) error {
			calls++
			return errFlaky
		})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errFlaky) || calls != 1 {
			t.Errorf("%d calls, %v; want both errors", calls, err)
		}
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("took %v after the context had ended at 100 ms", took)
		}
		if err := Do(ctx, Default(), func(ctx context.Context) error { calls++; return ctx.Err() }); !errors.Is(err, context.DeadlineExceeded) || calls != 2 {
			t.Errorf("ended context: %d calls, %v; want one more", calls, err)
		}
		if err := Do(ctx, Policy{}, func(ctx context.Context) error { calls++; return errFlaky }); !errors.Is(err, context.DeadlineExceeded) || calls != 3 {
			t.Errorf("ended context, no retries: %d calls, %v; want one more", calls, err)
		}
	})
}

// TestCertificate: a certificate that this machine does not trust is not asked for again.
func TestCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	attempts := 0
	err := Do(t.Context(), Default(), func(ctx context.Context) error {
		attempts++
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			err = res.Body.Close()
		}
		return err
	})
	if err == nil || attempts != 1 {
		t.Errorf("%d attempts: %v", attempts, err)
	}
}
